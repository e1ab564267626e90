"""Watching what is settled: degradation after an upgrade is told; whether it goes back, others decide."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from reconciler.engine.core import Core
from reconciler.engine.paced import written
from reconciler.engine.verify import Prover
from reconciler.engine.watch import Watch
from reconciler.model.desired import Desired
from reconciler.model.notice import Notice
from reconciler.model.observation import HealthState, Observation
from reconciler.model.performance import Baseline
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import NOT_BEGUN, Phase, Upgrade
from reconciler.model.verdict import Outcome

if TYPE_CHECKING:
    import aiohttp

AT_ONCE_MAX = 50
Found = tuple[Workload, HealthState, str]
"""What was looked at, how it is, and the evidence where it is degraded."""
CONTROLS_MAX = 20
PAST_MAX = 10


async def ignore(_work: Workload, _evidence: str) -> None:
    """Nothing comes of it."""


class Monitor:
    """The health of one environment's services, round by round; a change of it is told once."""

    def __init__(
        self, core: Core, environment: str, degraded: Callable[[Workload, str], Awaitable[None]] = ignore
    ) -> None:
        """`degraded` hears of what is found so, in every round, with the evidence."""
        self._core = core
        self._degraded = degraded
        self._environment = environment
        self._states: dict[str, HealthState] = {}
        self._failures: dict[str, int] = {}
        self._healthy_s: dict[str, float] = {}
        """When each was last found healthy, in monotonic seconds."""
        self._watches: dict[str, tuple[Target, Baseline | None, Watch]] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)

    def states(self) -> Mapping[str, HealthState]:
        """By service, as the last round found it."""
        return self._states

    async def healthy_now(self, work: Workload) -> bool:
        """One round of the probes of one workload: whether every one of them is healthy."""
        return all(outcome.sample.verdict == "healthy" for outcome in await self.outcomes(work))

    async def controls(
        self,
        desired: Desired,
        observed: Mapping[str, Observation],
        busy: frozenset[str],
        *,
        lately_s: float = 0.0,
    ) -> list[bool]:
        """Whether services that were healthy, now or so lately, still are, whatever version of them runs; some of them
        at most."""
        since_s = self._core.clock.monotonic() - lately_s
        untouched = [
            work
            for service, observation in observed.items()
            if service not in busy
            and (self._states.get(service) == "healthy" or self._healthy_s.get(service, -math.inf) >= since_s)
            and (work := self.what_runs(desired, observation))
        ]
        return list(await asyncio.gather(*(self.healthy_now(work) for work in untouched[:CONTROLS_MAX])))

    def proven(self, service: str) -> None:
        """An upgrade has just proved it healthy."""
        self._states[service] = "healthy"
        self._healthy_s[service] = self._core.clock.monotonic()
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
            if service not in busy and (work := self.what_runs(desired, observation))
        ]
        for service in self._states.keys() - {work.service for work in settled}:
            del self._states[service]
            self._watches.pop(service, None)
            self._healthy_s.pop(service, None)
        chosen = [work for work in settled if not (only_new and work.service in self._states)]
        if chosen:
            async with self._core.probes.session() as session:
                await self._look_at_all(chosen, session)

    def what_runs(self, desired: Desired, observation: Observation) -> Workload | None:
        """What is pinned or last-good, whichever of them runs: None where it is neither, and nothing says how to ask
        it."""
        pinned, running = desired.workloads.get(observation.service), observation.running
        if pinned and pinned.target == running:
            return pinned
        good = self._core.store.good(self._environment, observation.service, limit=1)
        return next((work for work, _ in good if work.target == running), None)

    async def _look_at_all(self, works: Iterable[Workload], session: aiohttp.ClientSession) -> None:
        """So many at once. What several were found to be at one moment is written in one transaction."""
        left, looking = deque(works), set[asyncio.Task[Found | None]]()
        try:
            while left or looking:
                while left and len(looking) < AT_ONCE_MAX:
                    looking.add(asyncio.create_task(self._look_at(left.popleft(), session)))
                done, looking = await asyncio.wait(looking, return_when=asyncio.FIRST_COMPLETED)
                found = [one for task in done if (one := task.result())]
                writes = [partial(self._settle, *one) for one in found]
                await written(self._core.store, self._core.clock, writes)
                looking |= {
                    asyncio.create_task(self._fall(work, evidence))
                    for work, state, evidence in found
                    if state == "degraded"
                }
        finally:
            for task in looking:
                task.cancel()

    async def _fall(self, work: Workload, evidence: str) -> None:
        await self._degraded(work, evidence)

    async def _look_at(self, work: Workload, session: aiohttp.ClientSession) -> Found | None:
        """What it is found to be; None while that is open."""
        measured = {probe.name for probe in work.release.health.measured}
        outcomes = [
            outcome
            for outcome in await self._round(work, session, self._watch(work) if measured else None)
            # What could not be measured speaks neither for a service that is settled nor against it.
            if outcome.sample.probe not in measured or outcome.sample.verdict != "unknown"
        ]
        failed = [outcome for outcome in outcomes if outcome.sample.verdict == "failed"]
        doubtful = any(outcome.sample.verdict == "unknown" for outcome in outcomes)
        self._failures[work.service] = self._failures.get(work.service, 0) + 1 if failed else 0
        tolerated = max((probe.failures for probe in work.release.health.probes), default=1)
        before = self._states.get(work.service)
        if self._failures[work.service] >= tolerated:
            return work, "degraded", f"{failed[0].sample.probe}: {failed[0].sample.detail}"
        if not failed:
            return work, "unknown" if doubtful else "healthy", ""
        if before is None:
            self._states[work.service] = "progressing"  # it may have been started a moment ago
        return None

    def _settle(self, work: Workload, state: HealthState, detail: str) -> None:
        before, self._states[work.service] = self._states.get(work.service), state
        if state == "healthy":
            self._healthy_s[work.service] = self._core.clock.monotonic()
        changed = self._core.store.health(self._environment, work.service, state, detail)
        if changed:
            self._core.stirred.add(self._environment)
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
        self._core.store.afterwards(self._core.wake.notices.set)

    def _watch(self, work: Workload) -> Watch:
        """What is measured of it from round to round, for a while against the version before."""
        baseline = self._baseline(work)
        known = self._watches.get(work.service)
        if known is None or known[:2] != (work.target, baseline):
            known = work.target, baseline, Watch(self._core, work, baseline)
            self._watches[work.service] = known
        return known[2]

    def _baseline(self, work: Workload) -> Baseline | None:
        upgrade = brought_by(self._core, work)
        return upgrade.baseline if upgrade else None

    async def outcomes(self, work: Workload, watch: Watch | None = None) -> list[Outcome]:
        """One round of the probes of one workload; with a watch also those that judge what was measured."""
        async with self._core.probes.session() as session:
            return await self._round(work, session, watch)

    async def _round(
        self, work: Workload, session: aiohttp.ClientSession, watch: Watch | None
    ) -> list[Outcome]:
        async with self._at_once:
            return await Prover(self._core, self._core.driver(self._environment), work, watch).round(session)


def brought_by(core: Core, work: Workload) -> Upgrade | None:
    """The upgrade that brought what runs, as long as that is watched for what came of it."""
    past = core.store.upgrades(environment=work.environment, service=work.service, limit=PAST_MAX)
    ended = next((one for one in past if one.phase not in NOT_BEGUN), None)
    if ended is None or ended.phase is not Phase.SUCCEEDED or ended.to != work.target or not ended.ended_at:
        return None
    since_s = (core.clock.now() - ended.ended_at).total_seconds()
    return ended if since_s <= work.release.health.watch_s else None
