"""One upgrade, one phase onward at a time, until it ends, waits, or the daemon stops."""

from __future__ import annotations

import dataclasses

from reconciler.drivers.base import Driver
from reconciler.engine.baseline import measure
from reconciler.engine.batch import batch_of, prove
from reconciler.engine.control import Control
from reconciler.engine.core import Core, cause_of
from reconciler.engine.data import Steward, Unsettled
from reconciler.engine.fence import Fence
from reconciler.engine.outcome import after_of, concluded, hindered, leave
from reconciler.engine.park import park
from reconciler.engine.remove import remove
from reconciler.engine.restore import restore
from reconciler.engine.revert import reported, settle_pin
from reconciler.engine.together import condemn, go_back, settled, turn
from reconciler.errand import StillRunning
from reconciler.model.errors import ArtifactError, HostError, TransientError
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase, Upgrade

ACTIVE = frozenset({Phase.PREPARING, Phase.APPLYING, Phase.VERIFYING, Phase.RESTORING, Phase.REVERTING})

APPLYING_STEPS = frozenset({"apply", "remove", "before", "after", "check"})
"""The steps of `applying`, or what stands before the colon in their names."""


def untouched(core: Core, upgrade: Upgrade) -> bool:
    """Whether nothing that runs, nor its data, has been touched for it yet."""
    if upgrade.phase is Phase.PREPARING:
        return True
    return (upgrade.phase, upgrade.batch) == (Phase.APPLYING, 0) and not any(
        step.step.partition(":")[0] in APPLYING_STEPS
        and (step.ended_at is None or step.started_at >= upgrade.changed_at)  # else of an earlier try
        for step in core.store.steps(upgrade.operation)
    )


async def carry(core: Core, upgrade: Upgrade, control: Control) -> Upgrade:
    """Carry an upgrade on from whatever phase it is in. Every phase may be begun again after a crash.

    Raises Fenced, having left everything as it stood, when the environment has come into other hands.
    """
    names = [core.share(upgrade.environment), *([upgrade.environment] if upgrade.leads else [])]
    core = dataclasses.replace(core, fence=Fence(core.leases, *names))
    driver = core.driver(upgrade.environment)
    while upgrade.phase in ACTIVE and not control.stopping:
        before = upgrade
        match upgrade.phase:
            case Phase.PREPARING if upgrade.after is None:
                upgrade = _reconsidered(core, upgrade, control) or core.move(upgrade, Phase.APPLYING, "")
            case Phase.APPLYING if upgrade.after is None:
                upgrade = await remove(core, driver, upgrade)
            case Phase.PREPARING:
                upgrade = await _prepare(core, driver, upgrade, control)
            case Phase.APPLYING:
                upgrade = await _apply(core, driver, upgrade, control)
            case Phase.VERIFYING:
                upgrade = await _verify(core, driver, upgrade, control)
            case Phase.RESTORING:
                upgrade = await _restore(core, driver, upgrade, control)
            case Phase.REVERTING if upgrade.taken_with:
                upgrade = settled(core, upgrade)
            case Phase.REVERTING if core.hosted(upgrade.environment):
                upgrade = reported(core, upgrade)
            case Phase.REVERTING:
                upgrade = await settle_pin(core, upgrade, control)
            case _:
                raise RuntimeError(f"{upgrade.operation}: nothing to do in phase {upgrade.phase}")
        if upgrade.phase is before.phase:
            break  # interrupted by the daemon's end: the same phase is begun again after the restart
    return upgrade


async def _prepare(core: Core, driver: Driver, upgrade: Upgrade, control: Control) -> Upgrade:
    after, site = after_of(upgrade), core.site_of(upgrade.environment)
    try:
        await core.step(upgrade, "artifact", driver.prepare, site, after, upgrade.revision)
        if upgrade.before:
            await core.step(upgrade, "restorable", _keep_restorable, core, driver, upgrade, upgrade.before)
        await core.step(upgrade, "preflight", driver.preflight, site, after)
        baseline = await measure(core, driver, upgrade, control)
        await Steward(core, driver, upgrade, control).prepare()
    except StillRunning:
        return upgrade
    except ArtifactError as error:
        core.store.deployed(after, revision=upgrade.revision)
        return await condemn(core, upgrade, control, str(error), to=Phase.REVERTING)
    except (HostError, TransientError) as error:
        return go_back(core, upgrade, control) if control.taken_with else park(core, upgrade, error)
    if given_up := _reconsidered(core, upgrade, control):
        return given_up
    core.store.deployed(after, revision=upgrade.revision)
    return core.move(upgrade, Phase.APPLYING, "", baseline=baseline)


def _reconsidered(core: Core, upgrade: Upgrade, control: Control) -> Upgrade | None:
    """One more look before anything is touched: where the upgrade stands that must not go on, None when it may."""
    if control.stopping:
        return upgrade
    if control.taken_with:
        return go_back(core, upgrade, control)
    if control.aborted:
        return core.move(upgrade, Phase.CANCELLED, control.aborted)
    if control.superseded:
        return core.move(upgrade, Phase.SUPERSEDED, control.superseded)
    if closed := control.closed():
        return core.move(upgrade, Phase.WAITING, closed)
    return None


async def _apply(core: Core, driver: Driver, upgrade: Upgrade, control: Control) -> Upgrade:
    if control.taken_with:
        return go_back(core, upgrade, control)
    steward, batch, site = (
        Steward(core, driver, upgrade, control),
        batch_of(core, upgrade),
        core.site_of(upgrade.environment),
    )
    cause = cause_of(upgrade, adopted=core.adopted(upgrade.environment, upgrade.service))
    try:
        await steward.migrate("before")
        await core.step(upgrade, batch.step, driver.apply, site, cause, after_of(upgrade), batch.upto)
        if batch.last:
            core.store.use_adoption(upgrade.environment, upgrade.service)
            await steward.migrate("after")
    except StillRunning:
        return upgrade
    except Unsettled as error:
        return leave(core, upgrade, steward, str(error))
    except ArtifactError as error:
        if why := steward.hopeless():
            return leave(core, upgrade, steward, f"{error}; {why}")
        return await condemn(core, upgrade, control, str(error), to=Phase.RESTORING)
    except (HostError, TransientError) as error:
        return await hindered(core, upgrade, control, steward, error)
    return core.move(upgrade, Phase.VERIFYING, "", verifying_at=core.clock.now())


async def _verify(core: Core, driver: Driver, upgrade: Upgrade, control: Control) -> Upgrade:
    steward = Steward(core, driver, upgrade, control)
    try:
        upgrade, judgement = await prove(core, driver, upgrade, control)
    except ArtifactError as error:  # it ran here before: what has become of its files is this machine's doing
        return await hindered(core, upgrade, control, steward, HostError(error.message, error.remedy))
    except (HostError, TransientError) as error:
        return await hindered(core, upgrade, control, steward, error)
    return await concluded(core, driver, upgrade, control, steward, judgement)


async def _restore(core: Core, driver: Driver, upgrade: Upgrade, control: Control) -> Upgrade:
    await turn(core, upgrade, control)
    if control.stopping and upgrade.restore_after:
        return upgrade
    trouble = await restore(core, driver, upgrade, control)
    if control.stopping and not trouble.done:
        return upgrade
    if control.taken_with and not (upgrade.failed or upgrade.taken_with):
        return await _restore(core, driver, go_back(core, upgrade, control), control)
    if upgrade.failed:
        reason = "; ".join(filter(None, (upgrade.reason, trouble.sentence)))
        return core.move(
            upgrade, Phase.REVERTING, reason, needs_person=bool(trouble.sentence), tell=bool(trouble.sentence)
        )
    if upgrade.taken_with:
        reason = "; ".join(filter(None, (upgrade.reason, trouble.sentence)))
        person = bool(trouble.sentence)
        return core.move(upgrade, Phase.REVERTING, reason, needs_person=person, tell=person)
    if trouble.sentence:
        # What runs is not what is pinned: the pin goes back all the same, and a person looks at the rest.
        return core.move(
            upgrade,
            Phase.REVERTING,
            trouble.sentence,
            severity="person",
            quarantine=trouble.sentence,
            failed=True,
            needs_person=True,
        )
    return core.move(upgrade, Phase.CANCELLED if upgrade.aborted else Phase.WAITING, upgrade.reason)


def _keep_restorable(core: Core, driver: Driver, upgrade: Upgrade, before: Workload) -> None:
    """See that last-good can come back, fetching it again where it is gone."""
    site = core.site_of(upgrade.environment)
    if not driver.restorable(site, before):
        return
    driver.prepare(site, before, upgrade.revision)
    if why := driver.restorable(site, before):
        raise HostError(f"{before.target.version} could not be brought back should this fail: {why}")
