"""Reviews of what is only proposed: taken for the approvals that they will be once it is merged."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.engine.pull_requests.owners import Owners, accounts_of, file_of
from reconciler.forge import Denied, Forge, Invalid, Pull
from reconciler.model.codeowners import Unreadable
from reconciler.model.environment import Environment
from reconciler.model.errors import UgsError
from reconciler.model.gates import closed
from reconciler.model.known import Known
from reconciler.model.permits import APPROVAL_LASTS, Approval, ask_of
from reconciler.model.planned import Planned, Preview
from reconciler.model.reviews import Review, Tally, tally, told
from reconciler.model.snapshot import Snapshot

log = logging.getLogger("ugs")
AUTHORS_MAX = 1_000
"""So many commits of a pull request are looked at for who wrote them."""


class Merged(Struct, frozen=True):
    """A pull request as if it were merged now: what stands at the tip, and what would then."""

    pull: Pull
    before: Snapshot
    after: Snapshot


class Foreseer:
    """One task's. What it says is what the gate will say of these reviews, were nothing else said until then."""

    def __init__(self, core: Core, forge: Forge) -> None:
        self._core = core
        self._forge = forge
        self._owners = Owners(core)

    def known(self, merged: Merged, made: Preview, known: Mapping[str, Known]) -> Mapping[str, Known] | None:
        """Blocking. What is known, with the reviews for the changes that want approvals; None where none does.
        Raises Unavailable."""
        wanted = list(_wanting(merged, made, known))
        if not wanted:
            return None
        pull, found, now = merged.pull, dict(known), self._core.clock.now()
        authors = self._wrote(merged)
        try:
            reviews, trouble = self._forge.reviews(pull.number), ""
        except (Denied, Invalid) as error:
            log.warning("pull request %d: %s", pull.number, error)
            reviews, trouble = (), f"its reviews cannot be looked at: {error.message}"
        for one in wanted:
            name, service = one.change.environment, one.change.service
            said, beside = self._tally(merged, one, reviews) if not trouble else (Tally(), trouble)
            ask = ask_of(one.change, merged.after.revision, one.change.path)
            given = tuple(
                Approval(0, ask, each.by, now, now + APPROVAL_LASTS, pull.url, each.owner, each.known)
                for each in said.given
            )
            key = _key(merged, name, found)
            here = found[key]
            permits = replace(here.permits, approvals=(*here.permits.approvals, *given))
            reviewed = {**here.reviewed, service: beside}
            found[key] = replace(here, permits=permits, reviewed=reviewed, authors=authors)
        return found

    def _tally(self, merged: Merged, one: Planned, reviews: tuple[Review, ...]) -> tuple[Tally, str]:
        """What they come to for one change, and what is to be said beside it."""
        pull, places = merged.pull, _places(merged, one.change.environment)
        owners, trouble = frozenset[str](), ""
        if any(place.policy.reviews == "owners" for place in places):
            try:
                file = file_of(places[0], one.change.service)
                owners = self._owners.of(file, merged.before.revision, self._forge)
            except (Unreadable, Denied, Invalid) as error:
                trouble = f"; {error}: nobody counts as an owner"
        said = tally(
            reviews, head=pull.head, author=pull.author, names=accounts_of(self._core), owners=owners
        )
        return said, (told(said, pull.url) + trouble).strip("; ")

    def _wrote(self, merged: Merged) -> tuple[str, ...] | None:
        """Who wrote the commits that would come, as far as that is known before the merge."""
        mirror, base, head = self._core.aside, merged.before.revision, merged.pull.head
        if mirror is None:
            return None
        try:
            commits = mirror.log(base, head, first_parent=False, limit=AUTHORS_MAX)
        except UgsError as error:
            log.warning("who wrote pull request %d is not known: %s", merged.pull.number, error)
            return None
        return tuple(sorted({who for one in commits for who in (one.author, one.email)}))


def _wanting(merged: Merged, made: Preview, known: Mapping[str, Known]) -> Iterator[Planned]:
    """Changes that wait for approvals where reviews count by what the environment would say."""
    for one in made.changes:
        places = _places(merged, one.change.environment)
        counts = bool(places) and places[0].policy.reviews != "ignored"
        ours = _key(merged, one.change.environment, known) in known
        if counts and ours and any(gate.gate == "approval" for gate in closed(one.gates)):
            yield one


def _key(merged: Merged, name: str, known: Mapping[str, Known]) -> str:
    """Under which name it is known: by the one that it has still, where it is to have another."""
    place = merged.after.environments.get(name)
    return name if name in known or place is None else place.renamed_from or name


def _places(merged: Merged, name: str) -> list[Environment]:
    """The environment as it would be, and as it is; none where it would be gone."""
    place = merged.after.environments.get(name)
    if place is None:
        return []
    was = merged.before.environments.get(name) or merged.before.environments.get(place.renamed_from or "")
    return [place, *([was] if was else [])]
