"""Watching what is settled: degradation after an upgrade is told, and never reverts anything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from reconciler.engine.core import Core
from reconciler.engine.verify import Prover
from reconciler.model.desired import Desired
from reconciler.model.notice import Notice
from reconciler.model.observation import HealthState, Observation
from reconciler.model.target import Workload
from reconciler.model.verdict import Outcome

AT_ONCE_MAX = 50
CONTROLS_MAX = 20


class Monitor:
    """The health of one environment's services, round by round; a change of it is told once."""

    def __init__(self, core: Core, environment: str) -> None:
        self._core = core
        self._environment = environment
        self._states: dict[str, HealthState] = {}
        self._failures: dict[str, int] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)

    def states(self) -> Mapping[str, HealthState]:
        """By service, as the last round found it."""
        return self._states

    async def healthy_now(self, work: Workload) -> bool:
        """One round of the probes of one workload: whether every one of them is healthy."""
        return all(outcome.sample.verdict == "healthy" for outcome in await self._outcomes(work))

    async def asked(self, desired: Desired, observation: Observation) -> list[Outcome] | None:
        """One round of the probes of what runs of a service; None where nobody knows how to ask it."""
        work = self._what_runs(desired, observation)
        return await self._outcomes(work) if work else None

    async def controls(
        self, desired: Desired, observed: Mapping[str, Observation], busy: frozenset[str]
    ) -> list[bool]:
        """Whether services that were healthy, whatever version of them runs, still are; some of them at most."""
        untouched = [
            work
            for service, observation in observed.items()
            if service not in busy
            and self._states.get(service) == "healthy"
            and (work := self._what_runs(desired, observation))
        ]
        return list(await asyncio.gather(*(self.healthy_now(work) for work in untouched[:CONTROLS_MAX])))

    def proven(self, service: str) -> None:
        """An upgrade has just proved it healthy."""
        self._states[service] = "healthy"
        self._core.store.health(self._environment, service, "healthy", "")

    async def look(
        self,
        desired: Desired,
        observed: Mapping[str, Observation],
        busy: frozenset[str],
        *,
        only_new: bool = False,
    ) -> None:
        """One round over what runs, is known, and is not being upgraded."""
        settled = [
            work
            for service, observation in observed.items()
            if service not in busy and (work := self._what_runs(desired, observation))
        ]
        for service in self._states.keys() - {work.service for work in settled}:
            del self._states[service]
        chosen = [work for work in settled if not (only_new and work.service in self._states)]
        await asyncio.gather(*(self._look_at(work) for work in chosen))

    def _what_runs(self, desired: Desired, observation: Observation) -> Workload | None:
        """What is pinned or last-good, whichever of them runs."""
        pinned = desired.workloads.get(observation.service)
        good = self._core.store.good(self._environment, observation.service, limit=1)
        known = [*([pinned] if pinned else []), *(work for work, _ in good)]
        return next((work for work in known if work.target == observation.running), None)

    async def _look_at(self, work: Workload) -> None:
        outcomes = await self._outcomes(work)
        failed = [outcome for outcome in outcomes if outcome.sample.verdict == "failed"]
        doubtful = any(outcome.sample.verdict == "unknown" for outcome in outcomes)
        self._failures[work.service] = self._failures.get(work.service, 0) + 1 if failed else 0
        tolerated = max((probe.failures for probe in work.release.health.probes), default=1)
        before = self._states.get(work.service)
        if self._failures[work.service] >= tolerated:
            first = failed[0].sample
            self._settle(work, "degraded", f"{first.probe}: {first.detail}")
        elif not failed:
            self._settle(work, "unknown" if doubtful else "healthy", "")
        elif before is None:
            self._states[work.service] = "progressing"  # it may have been started a moment ago

    def _settle(self, work: Workload, state: HealthState, detail: str) -> None:
        before, self._states[work.service] = self._states.get(work.service), state
        changed = self._core.store.health(self._environment, work.service, state, detail)
        if not changed or state == "unknown" or (state == "healthy" and before is None):
            return
        what = f"{self._environment}: {work.service} {work.target.version} is {state}"
        self._core.store.tell(
            Notice(
                environment=self._environment,
                service=work.service,
                sentence=f"{what}: {detail}" if detail else what,
                severity="person" if state == "degraded" else "info",
                at=self._core.clock.now(),
                title=what,
            )
        )
        self._core.wake_notices.set()

    async def _outcomes(self, work: Workload) -> list[Outcome]:
        async with self._at_once, self._core.probes.session() as session:
            return await Prover(self._core, self._core.driver(self._environment), work).round(session)
