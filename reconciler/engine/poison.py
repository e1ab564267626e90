"""An upgrade on which the daemon dies again and again is put aside, so that the others go on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from reconciler.engine.core import Core
from reconciler.model import sentence
from reconciler.model.errors import UgsError
from reconciler.model.notice import Notice
from reconciler.model.upgrade import Phase, Upgrade

DEATHS_MAX = 3
OUTLIVED_S = 60.0
"""Whoever has carried an upgrade for so long did not die of it."""
MARK = "taken up: "


def take_up(core: Core, upgrade: Upgrade) -> bool:
    """A start found this under way. False when that was so too often in this very phase: it is stuck now."""
    key = f"{MARK}{upgrade.operation}"
    phase, _, count = core.store.marks(key).get(key, "").partition(" ")
    deaths = 1 + (int(count) if phase == upgrade.phase else 0)
    if deaths < DEATHS_MAX:
        core.store.mark(key, f"{upgrade.phase.value} {deaths}")
        return True
    reason = (
        f"the daemon died {deaths} times while this was {upgrade.phase.value}, which is a bug; see its log"
    )
    with core.store.transaction():
        core.move(
            upgrade,
            Phase.STUCK,
            reason,
            severity="person",
            quarantine=reason if upgrade.after else None,
        )
        core.store.mark(key, None)
    return False


def put_down(core: Core, operation: str) -> None:
    """It was carried to its end, to a safe point, or for long enough."""
    if core.store.marks(key := f"{MARK}{operation}"):
        core.store.mark(key, None)


def outlive(core: Core, since_s: Mapping[str, float], broken: Mapping[str, str]) -> None:
    """By operation, since when it is carried (monotonic): for long enough is no poison. `broken`: by service, not
    carried any more."""
    before_s = core.clock.monotonic() - OUTLIVED_S
    for operation, at_s in since_s.items():
        if at_s < before_s and operation not in broken.values():
            put_down(core, operation)


def tell(core: Core, upgrade: Upgrade) -> None:
    """A bug stopped it: audited each time, and a person is called the first time. The log has it in any case."""
    with contextlib.suppress(UgsError), core.store.transaction():
        names = {"environment": upgrade.environment, "service": upgrade.service}
        core.store.audit("bug", operation=upgrade.operation, **names)
        if core.store.marks(key := f"{MARK}{upgrade.operation}"):
            return
        core.store.mark(key, f"{upgrade.phase.value} 0")
        text = f"{sentence.title(upgrade)} was stopped by a bug of UGS; look at its log, then start the daemon again"
        core.store.tell(
            Notice(
                **names,
                sentence=text,
                severity="person",
                at=core.clock.now(),
                operation=upgrade.operation,
                phase=upgrade.phase.value,
                title=sentence.title(upgrade),
            )
        )
    core.wake_notices.set()
