"""Environments that the repository has no longer: what runs there runs on until a person lets it go."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress

from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.engine.reading import Reading, Resolvers
from reconciler.model.codec import decode, encode
from reconciler.model.desired import Desired, departed
from reconciler.model.environment import Environment
from reconciler.model.errors import UgsError
from reconciler.model.stamped import named_alike

MARK = "gone: "
STAYS = "stays: "
"""By environment that is to have another name, and has not yet: the revision by which it goes on."""


def keep(core: Core, lost: Collection[Environment], reading: Reading, was: Collection[str]) -> None:
    """Write down every environment that the repository has `lost`, and has under no other name either; of those that it
    has, by what they go on until then. `was`: those that are known to have got another name.

    To be said before the commit is accepted: whoever is killed in between still knows of what runs there.
    """
    claimed = claims(core, reading) | set(was) if lost else set[str]()
    for one in lost:
        if one.name in claimed:
            if now := core.desired.get(one.name):
                core.store.mark(STAYS + one.name, now.revision)
        elif ours(core, one):
            with core.store.transaction():
                core.store.mark(MARK + one.name, encode(one).decode())
                core.store.audit("environment-gone", environment=one.name, detail=reading.snapshot.revision)


def claims(core: Core, reading: Reading) -> set[str]:
    """The former names that this daemon's environments say, be it that several say the same."""
    told = [*reading.environments.values(), *_misnamed(reading)]
    return {one.renamed_from for one in told if one.renamed_from and ours(core, one)}


def _misnamed(reading: Reading) -> list[Environment]:
    snapshot = reading.snapshot
    return [snapshot.followed[name].environment for name in snapshot.related.misnamed]


async def staying(
    core: Core, reading: Reading, names: Collection[str], resolvers: Resolvers
) -> dict[str, Desired]:
    """Of these names and of those that were written down, what is in force and stays so for now, by its last files.
    Nothing is removed by those: the new ones may pin it."""
    revisions = core.store.marks(STAYS)
    contested = {old for one in _misnamed(reading) if (old := one.renamed_from) and STAYS + old in revisions}
    wanted = contested.union(names)
    found = dict[str, Desired]()
    for name in sorted(wanted):
        now, revision = core.desired.get(name), revisions.get(STAYS + name)
        if now is None and revision:
            with suppress(UgsError):  # it was rewritten, and nobody knows it any more
                snapshot = await asyncio.to_thread(core.repository.snapshot, revision)
                now = resolvers.beside(snapshot, core.frozen).get(name)
        if now is not None and now.gone is None:
            found[name] = now if now.hidden else replace(now, hidden=True)
    for mark in revisions:
        if mark.removeprefix(STAYS) not in found:
            core.store.mark(mark, None)
    return found


def absent(core: Core, reading: Reading, resolvers: Resolvers) -> list[Environment]:
    """Those in force that the repository has no longer, and that were not gone already."""
    if named_alike(core.desired.now, reading.resolved(core.frozen, resolvers)):
        return []  # as nearly always
    found = [core.desired[name] for name in sorted(reading.lacking(core.desired.keys()))]
    return [one.environment for one in found if one.gone is None]


def absent_of(in_force: Collection[Environment], reading: Reading) -> list[Environment]:
    """Those of a former daemon's that the repository has no longer."""
    names = reading.lacking({one.name for one in in_force})
    return [one for one in in_force if one.name in names]


def gone(core: Core, reading: Reading) -> tuple[dict[str, Desired], list[str]]:
    """By name, the environments that were written down and have not come back, as they were last; and the names of
    those that have.

    Of one that has come back in a file that cannot be read, nothing is known for now.
    """
    found, back = dict[str, Desired](), list[str]()
    for mark, text in core.store.marks(MARK).items():
        name, last = mark.removeprefix(MARK), decode(text, Environment)
        if name in reading.environments:
            back.append(name)
        elif name not in reading.snapshot.blind and ours(core, last):
            found[name] = departed(last, reading.snapshot.revision)
    return found, back


def forget(core: Core, back: Iterable[str]) -> None:
    """These have come back."""
    for name in back:
        core.store.mark(MARK + name, None)


def ours(core: Core, environment: Environment) -> bool:
    """Whether this daemon has to do with an environment."""
    wanted = core.settings.environments
    return (not wanted or environment.name in wanted) and environment.driver.kind in core.settings.drivers


def close(core: Core, name: str) -> None:
    """Nothing is left there."""
    with core.store.transaction():
        core.store.mark(MARK + name, None)
        core.store.audit("environment-removed", environment=name)
    del core.desired[name]
