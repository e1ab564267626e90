"""A person's verdict on an upgrade that is under way: on record before he is answered, so that no end of the daemon
loses it."""

from __future__ import annotations

from contextlib import suppress

from msgspec import Struct

from reconciler.engine.core import Core
from reconciler.model.codec import decode, encode
from reconciler.model.errors import UgsError
from reconciler.model.upgrade import Phase, Upgrade

MARK = "rolled back: "
"""By operation."""
OPEN_TO_IT = frozenset({Phase.APPLYING, Phase.VERIFYING})


class Granted(Struct, frozen=True):
    """What was said of an upgrade, and who said it."""

    verdict: str
    actor: str


def grant(core: Core, upgrade: Upgrade, verdict: str, actor: str) -> None:
    """Write it down. Raises HostError where that cannot be done: then nothing was said."""
    store = core.store
    with store.transaction():
        for mark in store.marks(MARK):  # those that a daemon had no time to forget
            known = store.upgrade(mark.removeprefix(MARK))
            if known is None or known.final:
                store.mark(mark, None)
        store.mark(f"{MARK}{upgrade.operation}", encode(Granted(verdict, actor)).decode())
        store.audit(
            "rollback-granted",
            environment=upgrade.environment,
            service=upgrade.service,
            operation=upgrade.operation,
            actor=actor,
            detail=verdict,
        )


def granted(core: Core, upgrade: Upgrade) -> Granted | None:
    """What was said of an upgrade that a former daemon, or task, left without having heeded it."""
    if upgrade.phase not in OPEN_TO_IT:
        return None
    mark = f"{MARK}{upgrade.operation}"
    text = core.store.marks(mark).get(mark)
    return decode(text, Granted) if text else None


def heeded(core: Core, operation: str) -> None:
    """It is part of the upgrade's own record now, or that has ended. Where that cannot be written down, as on a full
    disk, the next verdict forgets it."""
    with suppress(UgsError):
        core.store.mark(f"{MARK}{operation}", None)
