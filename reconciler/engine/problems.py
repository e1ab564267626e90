"""What is wrong with the repository, as people are told of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from reconciler.engine.core import Core
from reconciler.model.errors import Place, Problem
from reconciler.model.notice import Notice, Severity
from reconciler.model.snapshot import Snapshot

log = logging.getLogger("ugs")
MARK = "problem: "


def refused(core: Core, snapshot: Snapshot, names: Iterable[str]) -> list[Problem]:
    """What ugs.yaml does not let these environments use here, as far as the snapshot has them."""
    environments = snapshot.environments
    return [
        Problem(
            Place(f"environments/{name}.yaml"),
            "driver.kind",
            f"the driver {environments[name].driver.kind} may not be used by this daemon",
            "add it to `drivers` in ugs.yaml, or name one that is there",
        )
        for name in names
        if name in environments and environments[name].driver.kind not in core.settings.drivers
    ]


def tell(core: Core, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each is told once while it lasts, however often the daemon is started anew; all there are, sorted."""
    store, now = core.store, {f"{MARK}{problem}": problem for problem in problems}
    told = store.marks(MARK)
    if told.keys() != now.keys():
        with store.transaction():
            for mark in sorted(now.keys() - told.keys()):
                log.error("%s", now[mark])
                store.mark(mark, "told")
                alert(core, str(now[mark]), "person")
            for mark in told.keys() - now.keys():
                store.mark(mark, None)
    return tuple(sorted(now.values()))


def alert(core: Core, text: str, severity: Severity) -> None:
    """Tell of the repository, which is no environment's."""
    now = core.clock.now()
    core.store.tell(
        Notice(environment="", service="", sentence=text, severity=severity, at=now, title="repository")
    )
    core.wake.notices.set()
