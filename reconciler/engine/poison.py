"""An upgrade on which the daemon dies again and again is put aside, so that the others go on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from reconciler.engine import data
from reconciler.engine.core import Core
from reconciler.model import sentence
from reconciler.model.errors import UgsError
from reconciler.model.notice import notice_of
from reconciler.model.upgrade import Phase, Upgrade

BUGS_MAX = 3
DEATHS_MAX = 10
"""More than the bugs that were seen: whoever or whatever kills a daemon may have nothing to do with the upgrade."""
OUTLIVED_S = 60.0
"""Whoever has carried an upgrade for so long did not die of it."""
MARK = "taken up: "


def take_up(core: Core, upgrade: Upgrade) -> bool:
    """A start found this under way. False when that was so too often in this very phase: it is stuck now."""
    deaths, bugs = _counted(core, upgrade)
    deaths += 1
    if deaths < DEATHS_MAX and bugs < BUGS_MAX:
        core.store.mark(f"{MARK}{upgrade.operation}", f"{upgrade.phase.value} {deaths} {bugs}")
        return True
    cause = f"a bug stopped it {bugs} times" if bugs >= BUGS_MAX else f"the daemon died {deaths} times"
    reason = f"{cause} while this was {upgrade.phase.value}; see the log of UGS"
    with core.store.transaction():
        core.move(
            upgrade, Phase.STUCK, reason, severity="person", quarantine=reason if upgrade.after else None
        )
        core.store.mark(f"{MARK}{upgrade.operation}", None)
        data.abandon(core, upgrade, reason)
    return False


def _counted(core: Core, upgrade: Upgrade) -> tuple[int, int]:
    """How often it ended in this very phase: with the daemon, and by a bug."""
    key = f"{MARK}{upgrade.operation}"
    phase, *counts = core.store.marks(MARK).get(key, "").split(" ")
    return (int(counts[0]), int(counts[1])) if phase == upgrade.phase else (0, 0)


def put_down(core: Core, operation: str) -> None:
    """It was carried to its end, to a safe point, or for long enough."""
    if (key := f"{MARK}{operation}") in core.store.marks(MARK):
        core.store.mark(key, None)


def outlive(core: Core, since_s: Mapping[str, float], broken: Mapping[str, str]) -> None:
    """By operation, since when it is carried (monotonic): for long enough is no poison. `broken`: by service, not
    carried any more."""
    before_s = core.clock.monotonic() - OUTLIVED_S
    for operation, at_s in since_s.items():
        if at_s < before_s and operation not in broken.values():
            put_down(core, operation)


def tell(core: Core, operation: str) -> None:
    """A bug stopped it: audited each time, and a person is called the first time. The log has it in any case."""
    with contextlib.suppress(UgsError), core.store.transaction():
        if (upgrade := core.store.upgrade(operation)) is None:
            return
        names = {"environment": upgrade.environment, "service": upgrade.service}
        core.store.audit("bug", operation=operation, **names)
        deaths, bugs = _counted(core, upgrade)
        core.store.mark(f"{MARK}{operation}", f"{upgrade.phase.value} {deaths} {bugs + 1}")
        if bugs:
            return
        text = f"{sentence.title(upgrade)} was stopped by a bug of UGS; look at its log, then start the daemon again"
        core.store.tell(notice_of(upgrade, "person", core.clock.now(), text=text))
    core.wake.notices.set()
