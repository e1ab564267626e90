"""A tip of the branch as far as it is trusted: what is about to be in force."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from msgspec import Struct

from reconciler.engine.repository import SNAPSHOTS_MAX, Repository, Retry
from reconciler.engine.trust import Judged
from reconciler.model.desired import Desired, Frozen, Resolver
from reconciler.model.environment import Environment
from reconciler.model.errors import InputError
from reconciler.model.snapshot import Snapshot


class Resolvers:
    """What is remembered of working out what environments ask for: of each revision that somebody follows by itself."""

    def __init__(self) -> None:
        self.newest = Resolver()
        """Of what is in force now."""
        self._beside: dict[str, Resolver] = {}

    def beside(self, snapshot: Snapshot, frozen: Frozen) -> Mapping[str, Desired]:
        """The same of another revision, that some environments stay at or that is not trusted yet."""
        known = self._beside.pop(snapshot.revision, None) or self.newest.beside()
        self._beside[snapshot.revision] = known  # last again: what was asked about longest ago goes first
        for old in list(self._beside)[:-SNAPSHOTS_MAX]:
            del self._beside[old]
        return known(snapshot, frozen)


class Reading(Struct, frozen=True):
    """What was read of a tip, as far as it is trusted."""

    snapshot: Snapshot
    held: dict[str, Snapshot | None]
    """Environments that stay behind, at their last trusted revisions."""
    beyond: Snapshot | None
    """What the tip says that is not trusted: to be shown, never followed."""
    retries: tuple[Retry, ...] = ()
    """What people released in the commits that came."""

    @property
    def environments(self) -> Mapping[str, Environment]:
        """Each at the last revision that is trusted for it."""
        if not self.held:
            return self.snapshot.environments
        older = {name: one.environments.get(name) if one else None for name, one in self.held.items()}
        return {name: one for name, one in {**self.snapshot.environments, **older}.items() if one}

    def __contains__(self, name: object) -> bool:
        """Whether the repository has an environment, be it only in a file that cannot be read or in a commit that is
        not trusted."""
        return name in self.environments or name in self.snapshot.blind or name in self.held

    def lacking(self, names: AbstractSet[str]) -> AbstractSet[str]:
        """Of these names, those that the repository has not."""
        there = self.environments.keys()
        if names <= there:  # as nearly always: of very many no set is made
            return frozenset()
        return {name for name in names - there if name not in self}

    def resolved(self, frozen: Frozen, resolvers: Resolvers) -> Mapping[str, Desired]:
        """What each environment asks for, at the last revision that is trusted for it."""
        newest = resolvers.newest(self.snapshot, frozen)
        if not self.held:
            return newest
        found = dict(newest)
        for name in self.held:
            found.pop(name, None)
        for name, older in self.held.items():
            if older and (desired := resolvers.beside(older, frozen).get(name)):
                found[name] = desired
        return found


def read(repository: Repository, tip: str, judged: Judged, previous: str | None = None) -> Reading | None:
    """Blocking. None where there is nothing that is trusted. `previous`: what is in force."""
    if judged.tip is None:
        return None
    beyond = None
    if judged.tip != tip:
        with contextlib.suppress(InputError):
            beyond = repository.snapshot(tip)
    held = {
        name: repository.snapshot(one.revision) if one.revision else None for name, one in judged.held.items()
    }
    retries = repository.retries(previous, judged.tip) if previous else ()
    return Reading(repository.snapshot(judged.tip), held, beyond, retries)


def accepted_environments(repository: Repository) -> list[Environment]:
    """Blocking. Those of the commit that a former daemon had in force last."""
    tip = repository.mirror.accepted()
    return list(repository.snapshot(tip).environments.values()) if tip else []
