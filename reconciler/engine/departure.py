"""Environments that the repository has no longer: what runs there runs on until a person lets it go."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from reconciler.engine.core import Core
from reconciler.engine.reading import Reading
from reconciler.model.codec import decode, encode
from reconciler.model.desired import Desired, departed
from reconciler.model.environment import Environment

MARK = "gone: "


def keep(core: Core, lost: Collection[Environment], reading: Reading, was: Collection[str]) -> None:
    """Write down every environment that the repository has `lost`, and has under no other name either. `was`: those
    that are known to have got another.

    To be said before the commit is accepted: whoever is killed in between still knows of what runs there.
    """
    claimed = {one.renamed_from for one in reading.environments.values() if ours(core, one)} if lost else ()
    for one in lost:
        if ours(core, one) and one.name not in claimed and one.name not in was:
            with core.store.transaction():
                core.store.mark(MARK + one.name, encode(one).decode())
                core.store.audit("environment-gone", environment=one.name, detail=reading.snapshot.revision)


def absent(core: Core, reading: Reading) -> list[Environment]:
    """Those in force that the repository has no longer, and that were not gone already."""
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
