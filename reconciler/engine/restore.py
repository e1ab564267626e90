"""Bring last-good back, and see that it answers: before Git, before Slack, before everything."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from reconciler.drivers.base import Driver
from reconciler.engine.control import Control
from reconciler.engine.core import Core, cause_of
from reconciler.engine.data import Steward
from reconciler.engine.together import all_back
from reconciler.engine.verify import verify
from reconciler.errand import StillRunning
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase, Upgrade

ATTEMPTS_MAX = 3
PAUSE_S = 1.0
PAUSE_MAX_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """`sentence`: why what was brought back is not well; empty when it is, or when nothing was there before."""

    done: bool
    sentence: str = ""


async def restore(core: Core, driver: Driver, upgrade: Upgrade, control: Control) -> Outcome:
    """Stop what failed, take its data back and start last-good, verified once by its own probes.

    Tried three times; where only this machine or its engine is in trouble and nothing failed, until that has passed:
    then nobody is to blame, and nothing is to be reverted.
    """
    good, steward = upgrade.before, Steward(core, driver, upgrade, control)
    trouble, attempts, judged = "", 0, bool(upgrade.failed or upgrade.taken_with)
    while True:
        try:
            trouble = await steward.take_back()
            if not trouble:
                await core.step(upgrade, "restore", _restore, core, driver, upgrade, good)
            break
        except StillRunning:
            return Outcome(False)
        except UgsError as error:
            trouble, attempts = f"the old version could not be brought back: {error}", attempts + 1
            if attempts >= ATTEMPTS_MAX and (judged or not isinstance(error, HostError | TransientError)):
                break
            if attempts == ATTEMPTS_MAX:
                core.move(upgrade, Phase.RESTORING, f"{trouble}; it is tried until it can", severity="person")
            if control.stopping:
                return Outcome(False)
            control.wake.clear()
            await core.clock.wait(control.wake, min(PAUSE_S * 2 ** (attempts - 1), PAUSE_MAX_S))
    if trouble and steward.owes:
        steward.hold(trouble)
    if trouble or good is None:
        return Outcome(True, trouble)
    await all_back(core, upgrade, control)
    # No soak: this only has to show that the old version answers again.
    proof = replace(good, release=replace(good.release, health=replace(good.release.health, soak_s=0.0)))
    judgement = await verify(core, driver, proof, control=control, whatever_is_said=True)
    if judgement is None:
        return Outcome(False)
    if judgement.verdict == "healthy":
        return Outcome(True)
    return Outcome(True, f"{good.target.version} is back but did not prove healthy: {judgement.sentence}")


def _restore(core: Core, driver: Driver, upgrade: Upgrade, good: Workload | None) -> None:
    site = core.site_of(upgrade.environment)
    if good is not None and driver.restorable(site, good):
        driver.prepare(site, good, upgrade.revision)
    driver.restore(site, cause_of(upgrade), good, environment=upgrade.environment, service=upgrade.service)
