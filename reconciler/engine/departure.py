"""Environments that the repository has no longer: what runs there runs on until a person lets it go."""

from __future__ import annotations

from reconciler.engine.core import Core
from reconciler.model.codec import decode, encode
from reconciler.model.desired import Desired, departed
from reconciler.model.environment import Environment
from reconciler.model.snapshot import Snapshot

MARK = "gone: "


def keep(core: Core, snapshot: Snapshot) -> None:
    """Write down every environment that is in force and that this commit has no longer, under no other name either.

    To be said before the commit is accepted: whoever is killed in between still knows of what runs there.
    """
    claimed = {one.renamed_from for one in snapshot.environments.values() if ours(core, one)}
    for name, desired in core.desired.items():
        if desired.gone is None and name not in claimed and not _has(snapshot, name):
            with core.store.transaction():
                core.store.mark(MARK + name, encode(desired.environment).decode())
                core.store.audit("environment-gone", environment=name, detail=snapshot.revision)


def gone(core: Core, snapshot: Snapshot) -> dict[str, Desired]:
    """By name, the environments that were written down and have not come back, as they were last."""
    found = dict[str, Desired]()
    for mark, text in core.store.marks(MARK).items():
        name, last = mark.removeprefix(MARK), decode(text, Environment)
        if _has(snapshot, name):
            core.store.mark(mark, None)
        elif ours(core, last):
            found[name] = departed(last, snapshot.revision)
    return found


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


def _has(snapshot: Snapshot, name: str) -> bool:
    return name in snapshot.environments or name in snapshot.blind
