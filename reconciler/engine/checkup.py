"""Asking what runs whether it is well, now and once: nothing is changed or decided by it.

What a release has measured is measured anew, for some seconds, and compared with what ran before its upgrade, however
long ago that was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from msgspec import Struct

from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet
from reconciler.engine.permits import place
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.engine.watch import Watch
from reconciler.model.observation import Verdict
from reconciler.model.performance import Baseline, Reading
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase
from reconciler.model.verdict import Key, Outcome

MEASURED_WITHIN_S = 3.5
EVERY_S = 0.1
PAST_MAX = 20


class MeasureSaid(Struct, frozen=True):
    """What a measure came to, what it may be at most, and what it was before the upgrade; None: not known."""

    value: float | None
    at_most: float | None
    before: float | None


class ProbeSaid(Struct, frozen=True):
    """`latency_s`: of a probe that was answered. `measured`: of one that judges a measure."""

    probe: str
    verdict: Verdict
    detail: str
    latency_s: float | None
    measured: MeasureSaid | None


class InstanceSaid(Struct, frozen=True):
    index: int
    verdict: Verdict
    probes: list[ProbeSaid]


class ServiceSaid(Struct, frozen=True):
    """One service. `verdict` of all its instances: `failed` where one has, else `unknown` where one is."""

    service: str
    running: str | None
    verdict: Verdict
    sentence: str
    instances: list[InstanceSaid]


async def checkup(
    fleet: Fleet, environment: str, services: Iterable[str], *, actor: str
) -> list[ServiceSaid]:
    """One round of probes of what runs of these services."""
    here, chosen = place(fleet, environment, None), sorted(services)
    one = chosen[0] if len(chosen) == 1 else ""
    fleet.core.store.audit(
        "verify", environment=environment, service=one, actor=actor, detail=f"{len(chosen)} services"
    )
    return list(await asyncio.gather(*(_checked(here, service) for service in chosen)))


async def _checked(here: EnvironmentPass, service: str) -> ServiceSaid:
    desired, observation = here.core.desired[here.name], here.observed.get(service)
    running = str(observation.running) if observation and observation.running else None
    if observation is None or not observation.instances:
        return ServiceSaid(service, None, "unknown", f"{here.name}: {service} does not run", [])
    if service in here.busy:
        text = f"{here.name}: {service} is being upgraded, and is proved by that"
        return ServiceSaid(service, running, "unknown", text, [])
    work = here.monitor.what_runs(desired, observation)
    if work is None:
        text = (
            f"{here.name}: what runs of {service} is neither pinned nor last-good: nothing says how to ask it"
        )
        return ServiceSaid(service, running, "unknown", text, [])
    watch = Watch(here.core, work, _baseline(here.core, work)) if work.release.health.measured else None
    instances = _by_instance(await _outcomes(here, work, watch), watch.readings if watch else {})
    verdict = _worst(one.verdict for one in instances)
    told = [
        f"{said.probe} of instance {one.index}: {said.detail or said.verdict}"
        for one in instances
        for said in one.probes
        if said.verdict != "healthy"
    ]
    text = f"{here.name}: {service} is {verdict}" + (f": {'; '.join(told[:3])}" if told else "")
    text += watch.passed_over if watch else ""
    return ServiceSaid(service, running, verdict, text, instances)


async def _outcomes(here: EnvironmentPass, work: Workload, watch: Watch | None) -> list[Outcome]:
    """One round of the probes; with measures as many as it takes until they know, for some seconds."""
    clock = here.core.clock
    end_s = clock.monotonic() + MEASURED_WITHIN_S
    measures = {probe.name for probe in work.release.health.measured if probe.performance}
    while True:
        outcomes = await here.monitor.outcomes(work, watch)
        unknown = {one.sample.probe for one in outcomes if one.sample.verdict == "unknown"}
        if not unknown & measures or clock.monotonic() >= end_s:
            return outcomes
        await clock.sleep(EVERY_S)


def _baseline(core: Core, work: Workload) -> Baseline | None:
    """What was measured just before the upgrade that brought what runs."""
    past = core.store.upgrades(environment=work.environment, service=work.service, limit=PAST_MAX)
    brought = (one for one in past if one.phase is Phase.SUCCEEDED and one.to == work.target)
    return next((one.baseline for one in brought if one.baseline), None)


def _by_instance(outcomes: list[Outcome], readings: Mapping[Key, Reading]) -> list[InstanceSaid]:
    return [
        InstanceSaid(
            index,
            _worst(one.sample.verdict for one in outcomes if one.instance == index),
            [_said(one, readings) for one in outcomes if one.instance == index],
        )
        for index in sorted({one.instance for one in outcomes})
    ]


def _said(outcome: Outcome, readings: Mapping[Key, Reading]) -> ProbeSaid:
    sample, reading = outcome.sample, readings.get((outcome.instance, outcome.sample.probe))
    measured = MeasureSaid(reading.value, reading.at_most, reading.before) if reading else None
    return ProbeSaid(sample.probe, sample.verdict, sample.detail, sample.latency_s, measured)


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    found = set(verdicts)
    return "failed" if "failed" in found else "healthy" if found == {"healthy"} else "unknown"
