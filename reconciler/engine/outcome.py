"""What comes of an upgrade that was judged or hindered: on it goes, or back, or it is left to a person."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.drivers.base import Driver
from reconciler.engine.batch import batch_of
from reconciler.engine.control import Control
from reconciler.engine.core import Core
from reconciler.engine.data import Steward
from reconciler.engine.data.account import adopt_migrations
from reconciler.engine.park import parking, severity_of
from reconciler.engine.revert import hold_all
from reconciler.engine.share import last_everywhere
from reconciler.engine.together import condemn, go_back
from reconciler.model.breaker import suspects_the_checker
from reconciler.model.errors import HostError, TransientError
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.model.verdict import Judgement


async def concluded(
    core: Core,
    driver: Driver,
    upgrade: Upgrade,
    control: Control,
    steward: Steward,
    judgement: Judgement | None,
) -> Upgrade:
    """What comes of a verdict, or of what someone said before there was one."""
    if control.verdict:
        return await _rolled_back(core, upgrade, control, steward)
    if control.aborted and (why := steward.hopeless()):
        return leave(core, upgrade, steward, f"{control.aborted}; {why}")
    if control.taken_with:
        if judgement and judgement.verdict == "failed":
            return await condemn(core, upgrade, control, judgement.sentence, to=Phase.RESTORING)
        return go_back(core, upgrade, control)
    if judgement is None:
        if control.aborted:
            return core.move(upgrade, Phase.RESTORING, control.aborted, aborted=True)
        return core.move(upgrade, Phase.SUPERSEDED, control.superseded) if control.superseded else upgrade
    match judgement.verdict:
        case "healthy" if not (batch := batch_of(core, upgrade)).last:
            return core.move(upgrade, Phase.APPLYING, batch.proven, batch=upgrade.batch + 1)
        case "healthy":
            return await _succeed(core, driver, upgrade, control, steward, judgement.sentence)
        case "failed":
            return await _failed(core, upgrade, control, steward, judgement.sentence)
        case _:
            # No evidence from the service itself: it runs on as it is, and a person looks.
            return core.move(
                upgrade, Phase.STUCK, judgement.sentence, severity="person", quarantine=judgement.sentence
            )


async def _rolled_back(core: Core, upgrade: Upgrade, control: Control, steward: Steward) -> Upgrade:
    """A person's verdict. Who was told that it counts must find it so, whatever we were about when it was given."""
    if why := steward.hopeless():
        return leave(core, upgrade, steward, f"{control.verdict}; {why}")
    upgrade = replace(upgrade, actor=control.actor)
    return await condemn(core, upgrade, control, control.verdict, to=Phase.RESTORING)


async def _failed(core: Core, upgrade: Upgrade, control: Control, steward: Steward, evidence: str) -> Upgrade:
    """Take it back, unless it must not be, or the probing itself looks broken: then a person looks."""
    controls = await control.controls() if control.controls else []
    if control.verdict:
        return await _rolled_back(core, upgrade, control, steward)
    if suspects_the_checker(controls):
        ill = f"{controls.count(False)} of {len(controls)} services that nobody touched fail too"
        reason = f"{evidence}; but {ill}: the probing itself is suspect, and everything is held"
        hold_all(core, upgrade.environment, f"the probing is suspect: {ill}")
        return core.move(upgrade, Phase.STUCK, reason, severity="person", quarantine=reason)
    if upgrade.before and after_of(upgrade).release.upgrade.reversible is False:
        reason = f"{evidence}; {after_of(upgrade).target.version} must not be taken back by itself"
        # Nor is the old one to be started on such data, as after a reboot.
        if steward.owes or steward.hopeless():
            steward.hold(reason)
        return core.move(upgrade, Phase.STUCK, reason, severity="person", quarantine=reason)
    if why := steward.hopeless():
        return leave(core, upgrade, steward, f"{evidence}; {why}")
    return await condemn(core, upgrade, control, evidence, to=Phase.RESTORING)


async def hindered(
    core: Core, upgrade: Upgrade, control: Control, steward: Steward, error: HostError | TransientError
) -> Upgrade:
    """This machine keeps the new version from running: the old one comes back, and it is tried again later, unless a
    person has rolled it back meanwhile."""
    if control.verdict:
        return await _rolled_back(core, upgrade, control, steward)
    if why := steward.hopeless():
        return leave(core, upgrade, steward, f"{error}; {why}")
    return core.move(
        upgrade, Phase.RESTORING, str(error), severity=severity_of(upgrade, error), **parking(core, upgrade)
    )


def leave(core: Core, upgrade: Upgrade, steward: Steward, reason: str) -> Upgrade:
    """What was done to the data cannot be taken back by us: what runs is left alone, and a person looks.

    The pin goes back unless it is the new version that runs.
    """
    steps = {step.step: step for step in core.store.steps(upgrade.operation)}
    if "apply" in steps:  # else it is the old version that runs on, and may be started again
        steward.hold(reason)
    if upgrade.phase is Phase.VERIFYING or ("apply" in steps and steps["apply"].outcome == "ok"):
        return core.move(upgrade, Phase.STUCK, reason, severity="person", quarantine=reason)
    return core.move(
        upgrade,
        Phase.REVERTING,
        reason,
        severity="person",
        quarantine=reason,
        failed=True,
        needs_person=True,
        parked_until=None,
    )


async def _succeed(
    core: Core, driver: Driver, upgrade: Upgrade, control: Control, steward: Steward, reason: str
) -> Upgrade:
    """Proven: what is left of the old version goes. Trouble with that takes nothing from the proof."""
    after, trouble, site = after_of(upgrade), "", core.site_of(upgrade.environment)
    try:
        await core.step(upgrade, "settle", driver.settle, site, after)
        good = core.store.good(upgrade.environment, upgrade.service)
        keep = frozenset(str(work.target) for work in (after, *(work for work, _ in good)))
        keep |= last_everywhere(core, upgrade.environment, upgrade.service)
        await core.step(upgrade, "tidy", driver.tidy, site, upgrade.environment, upgrade.service, keep)
    except (HostError, TransientError) as error:
        trouble = f"; but what the old version left could not be cleared away: {error}"
    if control.verdict:
        return await _rolled_back(core, upgrade, control, steward)
    if control.taken_with:
        return go_back(core, upgrade, control)
    with core.store.transaction():
        core.store.healthy(after)
        if upgrade.rollout and not upgrade.leads:
            adopt_migrations(core, after)  # whoever leads has applied them
        core.store.prove_migrations(upgrade.environment, upgrade.service)
        return core.move(
            upgrade, Phase.SUCCEEDED, f"{reason}{trouble}", severity="person" if trouble else "info"
        )


def after_of(upgrade: Upgrade) -> Workload:
    """What this upgrade, which is no removal, makes run."""
    if upgrade.after is None:
        raise RuntimeError(f"{upgrade.operation}: a removal has nothing to reach")
    return upgrade.after
