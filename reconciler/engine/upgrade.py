"""One upgrade, one phase onward at a time, until it ends, waits, or the daemon stops."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from reconciler.drivers.base import Driver
from reconciler.engine.control import Control
from reconciler.engine.core import Core
from reconciler.engine.restore import restore
from reconciler.engine.revert import hold_all, settle_pin
from reconciler.engine.verify import verify
from reconciler.model.breaker import suspects_the_checker
from reconciler.model.errors import ArtifactError, HostError, TransientError
from reconciler.model.notice import Severity
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase, Upgrade

ACTIVE = frozenset({Phase.PREPARING, Phase.APPLYING, Phase.VERIFYING, Phase.RESTORING, Phase.REVERTING})
PARK_FIRST_S = 10.0
PARK_MAX_S = 600.0


async def carry(core: Core, upgrade: Upgrade, control: Control) -> Upgrade:
    """Carry an upgrade on from whatever phase it is in. Every phase may be begun again after a crash."""
    driver = core.driver(upgrade.environment)
    while upgrade.phase in ACTIVE and not control.stopping:
        before = upgrade
        match upgrade.phase:
            case Phase.PREPARING if upgrade.after is None:
                upgrade = _reconsidered(core, upgrade, control) or core.move(upgrade, Phase.APPLYING, "")
            case Phase.APPLYING if upgrade.after is None:
                upgrade = await _remove(core, driver, upgrade)
            case Phase.PREPARING:
                upgrade = await _prepare(core, driver, upgrade, control)
            case Phase.APPLYING:
                upgrade = await _apply(core, driver, upgrade)
            case Phase.VERIFYING:
                upgrade = await _verify(core, driver, upgrade, control)
            case Phase.RESTORING:
                upgrade = await _restore(core, driver, upgrade, control)
            case Phase.REVERTING:
                upgrade = await settle_pin(core, upgrade, control)
            case _:
                raise RuntimeError(f"{upgrade.operation}: nothing to do in phase {upgrade.phase}")
        if upgrade.phase is before.phase:
            break  # interrupted by the daemon's end: the same phase is begun again after the restart
    return upgrade


async def _prepare(core: Core, driver: Driver, upgrade: Upgrade, control: Control) -> Upgrade:
    after = _after(upgrade)
    try:
        await core.step(upgrade, "artifact", driver.prepare, core.site, after, upgrade.revision)
        if upgrade.before:
            await core.step(upgrade, "restorable", _keep_restorable, core, driver, upgrade, upgrade.before)
        await core.step(upgrade, "preflight", driver.preflight, core.site, after)
    except ArtifactError as error:
        core.store.deployed(after, revision=upgrade.revision)
        return condemn(core, upgrade, str(error), to=Phase.REVERTING)
    except (HostError, TransientError) as error:
        return park(core, upgrade, error)
    if given_up := _reconsidered(core, upgrade, control):
        return given_up
    core.store.deployed(after, revision=upgrade.revision)
    return core.move(upgrade, Phase.APPLYING, "")


def _reconsidered(core: Core, upgrade: Upgrade, control: Control) -> Upgrade | None:
    """One more look before anything is touched: where the upgrade stands that must not go on, None when it may."""
    if control.stopping:
        return upgrade
    if control.aborted:
        return core.move(upgrade, Phase.CANCELLED, control.aborted)
    if control.superseded:
        return core.move(upgrade, Phase.SUPERSEDED, control.superseded)
    if closed := control.closed():
        return core.move(upgrade, Phase.WAITING, closed)
    return None


async def _remove(core: Core, driver: Driver, upgrade: Upgrade) -> Upgrade:
    """Stop the service. Its files stay, so that a pin brings it back without fetching anything."""
    name, service = upgrade.environment, upgrade.service
    try:
        await core.step(
            upgrade,
            "remove",
            partial(driver.restore, environment=name, service=service),
            core.site,
            upgrade.operation,
            None,
        )
    except (HostError, TransientError) as error:
        return park(core, upgrade, error)
    with core.store.transaction():
        core.store.removed(name, service)
        return core.move(upgrade, Phase.SUCCEEDED, "it is stopped")


async def _apply(core: Core, driver: Driver, upgrade: Upgrade) -> Upgrade:
    try:
        await core.step(upgrade, "apply", driver.apply, core.site, upgrade.operation, _after(upgrade))
    except ArtifactError as error:
        return condemn(core, upgrade, str(error), to=Phase.RESTORING)
    except (HostError, TransientError) as error:
        return core.move(
            upgrade,
            Phase.RESTORING,
            str(error),
            severity=_severity(upgrade, error),
            **_parking(core, upgrade),
        )
    return core.move(upgrade, Phase.VERIFYING, "", verifying_at=core.clock.now())


async def _verify(core: Core, driver: Driver, upgrade: Upgrade, control: Control) -> Upgrade:
    after = _after(upgrade)
    judgement = await verify(core, driver, after, control=control)
    if control.verdict:
        return condemn(core, upgrade, control.verdict, to=Phase.RESTORING)
    if judgement is None:
        if control.aborted:
            return core.move(upgrade, Phase.RESTORING, control.aborted, aborted=True)
        return core.move(upgrade, Phase.SUPERSEDED, control.superseded) if control.superseded else upgrade
    match judgement.verdict:
        case "healthy":
            return await _succeed(core, driver, upgrade, judgement.sentence)
        case "failed":
            return await _failed(core, upgrade, control, judgement.sentence)
        case _:
            # No evidence from the service itself: it runs on as it is, and a person looks.
            return core.move(
                upgrade, Phase.STUCK, judgement.sentence, severity="person", quarantine=judgement.sentence
            )


async def _failed(core: Core, upgrade: Upgrade, control: Control, evidence: str) -> Upgrade:
    """Take it back, unless it must not be, or the probing itself looks broken: then a person looks."""
    controls = await control.controls() if control.controls else []
    if suspects_the_checker(controls):
        ill = f"{controls.count(False)} of {len(controls)} services that nobody touched fail too"
        reason = f"{evidence}; but {ill}: the probing itself is suspect, and everything is held"
        hold_all(core, upgrade.environment, f"the probing is suspect: {ill}")
        return core.move(upgrade, Phase.STUCK, reason, severity="person", quarantine=reason)
    if upgrade.before and not _after(upgrade).release.upgrade.reversible:
        reason = f"{evidence}; {_after(upgrade).target.version} must not be taken back by itself"
        return core.move(upgrade, Phase.STUCK, reason, severity="person", quarantine=reason)
    return condemn(core, upgrade, evidence, to=Phase.RESTORING)


async def _restore(core: Core, driver: Driver, upgrade: Upgrade, control: Control) -> Upgrade:
    trouble = await restore(core, driver, upgrade, control)
    if control.stopping and not trouble.done:
        return upgrade
    if upgrade.failed:
        reason = "; ".join(filter(None, (upgrade.reason, trouble.sentence)))
        return core.move(
            upgrade, Phase.REVERTING, reason, needs_person=bool(trouble.sentence), tell=bool(trouble.sentence)
        )
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


def condemn(core: Core, upgrade: Upgrade, reason: str, *, to: Phase, actor: str = "ugs") -> Upgrade:
    """A verdict of failure: the target is quarantined in the same transaction, before anything is restored."""
    return core.move(
        upgrade,
        to,
        reason,
        severity="warning",
        actor=actor,
        quarantine=reason,
        failed=True,
        parked_until=None,
    )


def park(core: Core, upgrade: Upgrade, error: HostError | TransientError) -> Upgrade:
    """Trouble that is not the release's: wait and try again; a person is called, once."""
    return core.move(
        upgrade,
        Phase.WAITING,
        str(error),
        severity=_severity(upgrade, error),
        tell=upgrade.tries == 0,
        **_parking(core, upgrade),
    )


def _severity(upgrade: Upgrade, error: HostError | TransientError) -> Severity:
    """A person is called the first time, and not at every try."""
    if upgrade.tries:
        return "info"
    return "person" if isinstance(error, HostError) else "warning"


def _parking(core: Core, upgrade: Upgrade) -> dict[str, Any]:
    wait_s = min(PARK_FIRST_S * 2**upgrade.tries, PARK_MAX_S)
    return {"parked_until": core.clock.now() + timedelta(seconds=wait_s), "tries": upgrade.tries + 1}


async def _succeed(core: Core, driver: Driver, upgrade: Upgrade, reason: str) -> Upgrade:
    """Proven: what is left of the old version goes. Trouble with that takes nothing from the proof."""
    after, trouble = _after(upgrade), ""
    try:
        await core.step(upgrade, "settle", driver.settle, core.site, after)
        good = core.store.good(upgrade.environment, upgrade.service)
        keep = frozenset(str(work.target) for work in (after, *(work for work, _ in good)))
        await core.step(upgrade, "tidy", driver.tidy, core.site, upgrade.environment, upgrade.service, keep)
    except (HostError, TransientError) as error:
        trouble = f"; but what the old version left could not be cleared away: {error}"
    with core.store.transaction():
        core.store.healthy(after)
        return core.move(
            upgrade, Phase.SUCCEEDED, f"{reason}{trouble}", severity="person" if trouble else "info"
        )


def _keep_restorable(core: Core, driver: Driver, upgrade: Upgrade, before: Workload) -> None:
    """See that last-good can come back, fetching it again where it is gone."""
    if not driver.restorable(core.site, before):
        return
    driver.prepare(core.site, before, upgrade.revision)
    if why := driver.restorable(core.site, before):
        raise HostError(f"{before.target.version} could not be brought back should this fail: {why}")


def _after(upgrade: Upgrade) -> Workload:
    if upgrade.after is None:
        raise RuntimeError(f"{upgrade.operation}: a removal has nothing to reach")
    return upgrade.after
