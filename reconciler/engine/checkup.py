"""Asking what runs whether it is well, now and once: nothing is changed or decided by it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from msgspec import Struct

from reconciler.engine.fleet import Fleet
from reconciler.engine.permits import place
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.model.observation import Verdict
from reconciler.model.verdict import Outcome


class ProbeSaid(Struct, frozen=True):
    probe: str
    verdict: Verdict
    detail: str


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
    outcomes = await here.monitor.asked(desired, observation)
    if outcomes is None:
        text = (
            f"{here.name}: what runs of {service} is neither pinned nor last-good: nothing says how to ask it"
        )
        return ServiceSaid(service, running, "unknown", text, [])
    instances = _by_instance(outcomes)
    verdict = _worst(one.verdict for one in instances)
    told = [
        f"{said.probe} of instance {one.index}: {said.detail or said.verdict}"
        for one in instances
        for said in one.probes
        if said.verdict != "healthy"
    ]
    text = f"{here.name}: {service} is {verdict}" + (f": {'; '.join(told[:3])}" if told else "")
    return ServiceSaid(service, running, verdict, text, instances)


def _by_instance(outcomes: list[Outcome]) -> list[InstanceSaid]:
    return [
        InstanceSaid(
            index,
            _worst(one.sample.verdict for one in outcomes if one.instance == index),
            [
                ProbeSaid(one.sample.probe, one.sample.verdict, one.sample.detail)
                for one in outcomes
                if one.instance == index
            ],
        )
        for index in sorted({one.instance for one in outcomes})
    ]


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    found = set(verdicts)
    return "failed" if "failed" in found else "healthy" if found == {"healthy"} else "unknown"
