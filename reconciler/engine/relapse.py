"""What degrades soon after its upgrade goes back, where its release says so: as if it had failed then."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from reconciler.engine.control import Control
from reconciler.engine.data import Steward
from reconciler.engine.monitor import brought_by
from reconciler.engine.revert import hold_all
from reconciler.engine.standing import Conflict, condemn_running
from reconciler.model.breaker import suspects_the_checker
from reconciler.model.errors import UgsError
from reconciler.model.notice import Notice
from reconciler.model.target import Workload
from reconciler.model.upgrade import Upgrade

if TYPE_CHECKING:
    from reconciler.engine.reconcile import EnvironmentPass

log = logging.getLogger("ugs")
MARK = "not taken back: "
LATELY_S = 120.0


async def go_back(here: EnvironmentPass, work: Workload, evidence: str) -> None:
    """Take back what was found degraded, unless it must stay: why is told once. Trouble is logged; it is tried again
    at the next round."""
    upgrade = brought_by(here.core, work)
    if work.release.health.after != "restore" or upgrade is None or not _is_ours_to_judge(here, work):
        return
    verdict = f"degraded after its upgrade (operation {upgrade.operation}): {evidence}"
    try:
        if stays := await _must_stay(here, work):
            _tell(here, work, upgrade, f"{verdict}; it is not taken back: {stays}")
        elif _is_ours_to_judge(here, work):  # so much may have happened meanwhile

            def check(standing: Upgrade) -> None:
                steward = Steward(here.core, here.core.driver(here.name), standing, _nobody())
                if why := steward.hopeless():
                    raise Conflict(why)

            await condemn_running(here, work.service, verdict=verdict, actor="ugs", check=check)
    except Conflict as conflict:
        _tell(here, work, upgrade, f"{verdict}; it cannot be taken back: {conflict}")
    except UgsError as error:
        log.warning("%s: %s is degraded and not taken back yet: %s", here.name, work.service, error)


def _is_ours_to_judge(here: EnvironmentPass, work: Workload) -> bool:
    """Whether the environment is this daemon's, and the pin still asks for exactly what runs."""
    core, desired = here.core, here.core.desired.get(here.name)
    if desired is None or desired.gone is not None or work.service in here.running:
        return False
    pinned = desired.workloads.get(work.service)
    return (
        pinned is not None
        and pinned.target == work.target
        and here.observed_target(work.service) == work.target
        and core.leases.standing(core.share(here.name)) == "held"
        and core.store.recovery(here.name) is None
    )


async def _must_stay(here: EnvironmentPass, work: Workload) -> str:
    """Why it must not go back by itself; empty when it may."""
    desired = here.core.desired[here.name]
    busy = here.busy | {work.service}
    # Where the probing itself is broken, all degrade in one round.
    controls = await here.monitor.controls(desired, here.observed, busy, lately_s=LATELY_S)
    if suspects_the_checker(controls):
        ill = f"{controls.count(False)} of {len(controls)} services that nobody touched fail too"
        hold_all(here.core, here.name, f"the probing is suspect: {ill}")
        return f"{ill}: the probing itself is suspect, and everything is held"
    if work.release.upgrade.reversible is False:
        return f"{work.target.version} must not be taken back by itself"
    return ""


def _tell(here: EnvironmentPass, work: Workload, upgrade: Upgrade, text: str) -> None:
    """A person decides; once for each upgrade."""
    store, mark = here.core.store, f"{MARK}{upgrade.operation}"
    if store.marks(mark):
        return
    title = f"{here.name}: {work.service} {work.target.version} stays"
    log.warning("%s: %s: %s", here.name, work.service, text)
    with store.transaction():
        store.mark(mark, "told")
        store.audit(
            "not-taken-back",
            environment=here.name,
            service=work.service,
            operation=upgrade.operation,
            detail=text,
        )
        store.tell(
            Notice(
                environment=here.name,
                service=work.service,
                sentence=f"{here.name}: {work.service} {work.target.version}: {text}",
                severity="person",
                at=here.core.clock.now(),
                title=title,
            )
        )
    here.core.wake.notices.set()


def _nobody() -> Control:
    return Control(lambda: "")
