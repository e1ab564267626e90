"""Measuring what runs just before an upgrade touches it: what its release calls `baseline`."""

from __future__ import annotations

import aiohttp
from msgspec.structs import replace

from reconciler.drivers.base import Driver
from reconciler.engine.control import Control
from reconciler.engine.core import Core
from reconciler.engine.verify import WAIT_MIN_S, Prover
from reconciler.engine.watch import RATE_MIN_S, USAGE_EVERY_S, Watch, per_instance
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.performance import TRIES_MIN, Baseline, is_relative
from reconciler.model.release import Probe
from reconciler.model.target import Workload
from reconciler.model.upgrade import Upgrade

STEP = "baseline"
EVERY_S = 0.1
LASTS_MAX_S = 15.0


async def measure(core: Core, driver: Driver, upgrade: Upgrade, control: Control) -> Baseline | None:
    """What ran before, measured for some seconds; None where the release compares nothing with it.

    Raises HostError where the release asks a Prometheus that nobody has named, TransientError where it cannot be
    asked now.
    """
    health = upgrade.after.release.health if upgrade.after else None
    if health is None:
        return None
    if any(probe.prometheus for probe in health.probes) and core.settings.prometheus is None:
        raise HostError(
            "the release has probes that ask Prometheus, and ugs.yaml names none",
            f"add `prometheus: {{url: ...}}` to {core.settings.file}",
        )
    before = upgrade.before
    if before is None or not is_relative(health):
        return None
    if upgrade.running != before.target:
        why = f"{before.target.version} did not run"
        return Baseline(before.target.version.text, lacks={probe.name: why for probe in health.measured})
    core.store.begin(upgrade.operation, STEP)
    try:
        baseline = await _measured(core, driver, before, health.measured, control)
    except UgsError as error:
        core.store.end(upgrade.operation, STEP, outcome="failed", detail=str(error))
        raise
    core.store.end(upgrade.operation, STEP)
    return baseline


async def _measured(
    core: Core, driver: Driver, before: Workload, probes: tuple[Probe, ...], control: Control
) -> Baseline:
    uses = {probe.performance for probe in probes} & {"memory", "cpu"}
    watch = Watch(core, before, None, uses=bool(uses))
    async with core.probes.session() as session:
        if any(probe.performance for probe in probes):
            await _asked(core, driver, before, watch, control, session, least_s=_least_s("cpu" in uses))
        queries, lacks = dict[str, float](), dict[str, str]()
        for probe in probes:
            if probe.prometheus is not None and probe.at_most and probe.at_most.factor is not None:
                values = await _answers(watch, before, probe, session)
                if values:
                    queries[probe.prometheus] = max(values)
                else:
                    lacks[probe.name] = "Prometheus has no number for it"
    return Baseline(before.target.version.text, watch.measured(), queries, lacks)


def _least_s(cpu: bool) -> float:
    return RATE_MIN_S + USAGE_EVERY_S if cpu else 0.0


async def _asked(
    core: Core,
    driver: Driver,
    before: Workload,
    watch: Watch,
    control: Control,
    session: aiohttp.ClientSession,
    *,
    least_s: float,
) -> None:
    """Ask what runs by its own probes, many times in a row: what it answers then is what the new one is held to."""
    health = before.release.health
    quick = tuple(replace(probe, interval_s=EVERY_S) for probe in health.asked)
    work = replace(before, release=replace(before.release, health=replace(health, probes=quick)))
    prover, clock = Prover(core, driver, work, watch), core.clock
    began_s = clock.monotonic()
    while not control.interrupted:
        control.wake.clear()
        await prover.round(session)
        lasted_s, enough = clock.monotonic() - began_s, not quick or watch.tries >= TRIES_MIN
        if lasted_s >= LASTS_MAX_S or (enough and lasted_s >= least_s):
            return
        await clock.wait(control.wake, max(WAIT_MIN_S, min(EVERY_S, prover.next_due_s() - clock.monotonic())))


async def _answers(
    watch: Watch, before: Workload, probe: Probe, session: aiohttp.ClientSession
) -> list[float]:
    """The number, or that of each instance. Raises TransientError where Prometheus cannot be asked."""
    values = []
    for index in range(before.instances if per_instance(probe) else 1):
        answer = await watch.ask(session, probe, index)
        if not answer.reached:
            raise TransientError(
                f"what runs cannot be measured: {answer.detail}", "see that Prometheus answers"
            )
        if answer.value is not None:
            values.append(answer.value)
    return values
