"""The batches of one upgrade: what runs so far is proven, and watched until the next may start."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from reconciler.drivers.base import Driver
from reconciler.engine.control import Control
from reconciler.engine.core import Core, cause_of
from reconciler.engine.verify import verify
from reconciler.engine.watch import Watch
from reconciler.model.engines import ENGINES
from reconciler.model.rollout import batches
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.model.verdict import Judgement

FRESH_S = 0.5
"""What was proved longer ago than that, when a gate was last asked, is proved again; twice as long each time."""
WATCH_S = 2.0
"""How often it is looked whether the next batch may start, while what runs is probed on."""


@dataclass(frozen=True)
class Batch:
    """`work`: what has to be healthy now. `upto`: how many instances that is. `step`: its name in the journal."""

    work: Workload
    upto: int
    step: str
    last: bool
    proven: str


def batch_of(core: Core, upgrade: Upgrade) -> Batch:
    """The batch that an upgrade is at; of a strategy without any, all instances at once."""
    work = upgrade.after
    if work is None:
        raise RuntimeError(f"{upgrade.operation}: a removal has no batches")
    wanted = core.desired.get(upgrade.environment)
    kind = wanted.environment.driver.kind if wanted else core.settings.drivers[0]
    # Where nothing gives way, nothing is spared by going slowly.
    counts = batches(work, ENGINES[kind]) if upgrade.before else (work.instances,)
    upto = counts[min(upgrade.batch, len(counts) - 1)]
    last = upto == work.instances
    return Batch(
        work=work if last else _lasting(replace(work, instances=upto), work.rollout.pause_s),
        upto=upto,
        step=f"apply:{upto}" if upgrade.batch else "apply",
        last=last,
        proven=f"{upto} of {work.instances} instances are healthy",
    )


async def prove(
    core: Core, driver: Driver, upgrade: Upgrade, control: Control
) -> tuple[Upgrade, Judgement | None]:
    """Verify what runs so far, and go on verifying it while a gate keeps the next batch from starting.

    The judgement is None when someone spoke meanwhile (see `control`). Raises HostError, TransientError or
    ArtifactError where what was lost with the machine cannot be started again.
    """
    batch = batch_of(core, upgrade)

    async def again() -> None:
        await core.step(upgrade, "again", _start_again, core, driver, upgrade, batch)

    watch = Watch(core, batch.work, upgrade.baseline)
    judgement = await verify(core, driver, batch.work, control=control, again=again, watch=watch)
    fresh_s = FRESH_S
    while not batch.last and judgement and judgement.verdict == "healthy":
        proved_s = core.clock.monotonic()
        if shut := await control.paused():
            reason = f"{batch.proven}; the next batch waits: {shut}"
            if upgrade.reason != reason:
                upgrade = core.move(upgrade, Phase.VERIFYING, reason)
        elif core.clock.monotonic() - proved_s <= fresh_s:
            break
        else:  # the daemon was stopped meanwhile, and what was so then proves nothing; or the machine is slow
            fresh_s *= 2
        lasting = _lasting(batch.work, WATCH_S)
        judgement = await verify(core, driver, lasting, control=control, again=again, watch=watch)
    return upgrade, judgement


def _start_again(core: Core, driver: Driver, upgrade: Upgrade, batch: Batch) -> None:
    site, work = core.site_of(upgrade.environment), upgrade.after or batch.work
    if driver.restorable(site, work):
        driver.prepare(site, work, upgrade.revision)
    driver.apply(site, cause_of(upgrade), work, batch.upto)


def _lasting(work: Workload, soak_s: float) -> Workload:
    """The same, to be healthy for at least so long."""
    health = work.release.health
    health = replace(health, soak_s=max(health.soak_s, soak_s))
    return replace(work, release=replace(work.release, health=health))
