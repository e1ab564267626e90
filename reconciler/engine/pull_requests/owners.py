"""Who the owners of a file are, by CODEOWNERS and the teams that it names; and as whom UGS knows an account."""

from __future__ import annotations

from datetime import datetime, timedelta

from reconciler.engine.core import Core
from reconciler.forge import Forge
from reconciler.model import codeowners
from reconciler.model.codeowners import Unreadable
from reconciler.model.environment import Environment

TEAM_LASTS = timedelta(hours=1)
TEAMS_MAX = 100


class Owners:
    """One task's. Teams are kept for an hour."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._teams: dict[str, tuple[datetime, frozenset[str]]] = {}

    def of(self, file: str, base: str, forge: Forge) -> frozenset[str]:
        """Accounts and addresses; blocking. As CODEOWNERS stands at `base`, before the push: nobody appoints himself
        in it. Raises Unreadable where nobody knows, and as the forge does."""
        kind = self._core.settings.forge.kind if self._core.settings.forge else "github"
        for place in codeowners.PLACES[kind]:
            if base and (text := self._core.repository.mirror.blob_at(base, place)) is not None:
                named = codeowners.owners(text.decode("utf-8", "replace"), file, kind)
                return frozenset(account for owner in named for account in self._accounts(owner, forge))
        raise Unreadable("there was no CODEOWNERS before the push")

    def _accounts(self, owner: str, forge: Forge) -> frozenset[str]:
        if "/" not in owner:
            return frozenset({owner.removeprefix("@")})
        known, now = self._teams.get(owner), self._core.clock.now()
        if known is None or now - known[0] > TEAM_LASTS:
            if len(self._teams) >= TEAMS_MAX:
                self._teams.clear()
            self._teams[owner] = known = now, forge.members(owner)
        return known[1]


def accounts_of(core: Core) -> dict[str, str]:
    """By account of the forge: the person whose it is, by ugs.yaml."""
    said = core.settings.forge
    return dict(said.people) if said else {}


def file_of(environment: Environment, service: str) -> str:
    """Where the pin of a service stands; of one that is pinned no longer, where others do."""
    pin = environment.pins.get(service)
    return pin.place.file if pin else f"environments/{environment.name}.yaml"
