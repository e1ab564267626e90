"""Proving a workload: probe every instance, again and again, until the judge has a verdict."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial

import aiohttp
from msgspec.structs import replace

from reconciler import probes
from reconciler.clock import Steady
from reconciler.drivers.base import Driver, Endpoint
from reconciler.drivers.started import secrets_of
from reconciler.engine.control import Control
from reconciler.engine.core import Core
from reconciler.engine.watch import Watch
from reconciler.model import verdict
from reconciler.model.errors import UgsError
from reconciler.model.observation import Observation, Sample, Usage
from reconciler.model.release import Probe
from reconciler.model.target import Workload
from reconciler.model.verdict import Judgement, Outcome

log = logging.getLogger("ugs")
PROCESS = Probe(interval_s=0.2)
PROCESS_NAME = "process"
WAIT_MIN_S = 0.02
UNSURE_S = 1.0
"""How often it is looked whether the remote says again whose the environment is."""


async def verify(
    core: Core,
    driver: Driver,
    work: Workload,
    *,
    control: Control,
    whatever_is_said: bool = False,
    again: Callable[[], Awaitable[None]] | None = None,
    watch: Watch | None = None,
) -> Judgement | None:
    """Probe until there is a verdict; None when someone spoke meanwhile (see `control`).

    `whatever_is_said`: to the end, save that of the daemon. `again` starts once more what is gone together with
    what kept it, as after a reboot: that is nothing the release has done, so the series and its deadline begin
    anew, once. Raises what `again` raises. `watch`: what judges by measures; without one, nobody does.
    """
    prover = Prover(core, driver, work, watch)
    series = verdict.begin(work.release.health, prover.clock.now(), prover.expected)
    async with core.probes.session() as session:
        while not (control.stopping if whatever_is_said else control.interrupted):
            control.wake.clear()  # before anything is awaited, so that no word is missed
            for outcome in sorted(await prover.round(session), key=lambda outcome: outcome.sample.at):
                series = verdict.step(series, outcome)
            # Who was stopped for long must not judge by what was so then.
            await core.fence.passed(ending=True)
            now = prover.clock.now()
            judgement = verdict.judge(series, now)
            if judgement.verdict == "unknown" and not (whatever_is_said or core.fence.sure):
                # It runs on as it is: nobody gives up what has perhaps been another's for long.
                await core.clock.wait(control.wake, UNSURE_S)
                continue
            if judgement.verdict == "failed" and again and await core.drive(work.environment, prover.is_gone):
                log.warning("%s: %s is gone, and is started again", work.environment, work.service)
                await again()
                again, series = None, verdict.begin(series.health, prover.clock.now(), prover.expected)
                continue
            if judgement.verdict is not None:
                measured = watch.told() if watch and judgement.verdict == "healthy" else ""
                return replace(judgement, sentence=prover.told(judgement.sentence + measured))
            wait_s = prover.next_due_s() - core.clock.monotonic()
            if judgement.next_at is not None:
                wait_s = min(wait_s, (judgement.next_at - now).total_seconds())
            await core.clock.wait(control.wake, max(WAIT_MIN_S, wait_s))
    return None


class Prover:
    """The probes of one workload, each at its own interval, and the process itself as one more; with a watch, also
    those that judge what was measured."""

    def __init__(self, core: Core, driver: Driver, work: Workload, watch: Watch | None = None) -> None:
        self._core, self._driver, self._work, self._watch = core, driver, work, watch
        self.clock = Steady(core.clock)  # a deadline is a length of time, whatever the wall clock is set to
        self._site = core.site_of(work.environment)
        self._secrets = secrets_of(self._site, work)
        self._asked = {probe.name: probe for probe in work.release.health.asked}
        self._specs = self._asked | (watch.probes if watch else {})
        self._due_s: dict[str, float] = dict.fromkeys((PROCESS_NAME, *self._specs), 0.0)
        self._endpoints: tuple[Endpoint, ...] = ()
        """Where they were last to be probed."""
        self._handles: tuple[str, ...] = ()
        """Of the instances, as they were last seen."""
        names = PROCESS_NAME, *self._asked
        self.expected = frozenset((index, name) for index in range(work.instances) for name in names)
        self.expected |= watch.expected if watch else frozenset()

    def next_due_s(self) -> float:
        """When the next probe is due, in monotonic seconds."""
        return min(self._due_s.values())

    def is_gone(self) -> bool:
        """Whether the engine knows nothing of an instance any more: neither of it, nor of what would start it again."""
        try:
            seen = self._driver.observe(self._site, self._work.environment)
        except UgsError:
            return False
        instances = seen.get(self._work.service, Observation(self._work.service)).instances
        present = {one.index for one in instances if one.target == self._work.target}
        return not present.issuperset(range(self._work.instances))

    def told(self, text: str) -> str:
        """A sentence about probes with the placeholders of the one instance filled in, as it was last looked at."""
        if self._work.instances > 1 or not self._endpoints:
            return text
        return probes.fill(text, self._endpoints[0].values)

    async def round(self, session: aiohttp.ClientSession) -> list[Outcome]:
        """Whatever is due now, every instance at once."""
        now_s, specs = self._core.clock.monotonic(), self._specs
        due = [name for name, due_s in self._due_s.items() if due_s <= now_s]
        for name in due:
            self._due_s[name] = now_s + (specs.get(name) or PROCESS).interval_s
        wanted = [self._asked[name] for name in due if name in self._asked]
        outcomes, endpoints = list[Outcome](), list[tuple[Endpoint, str]]()
        if wanted or PROCESS_NAME in due:
            outcomes, endpoints = await self._core.drive(
                self._work.environment, self._look, PROCESS_NAME in due, wanted
            )
        probed = await asyncio.gather(
            *(
                self._probe(session, spec, endpoint, foreign)
                for spec in wanted
                for endpoint, foreign in endpoints
            )
        )
        outcomes.extend(probed)
        if self._watch:
            self._watch.hear(outcomes)
            outcomes.extend(await self._watch.round(session, due, self._used, self.clock.now))
        self._core.probed.hear(self._work.environment, self._work.service, outcomes)
        return outcomes

    def _look(
        self, processes: bool, wanted: Sequence[Probe]
    ) -> tuple[list[Outcome], list[tuple[Endpoint, str]]]:
        """Blocking: what the engine knows of the instances, and where each is to be probed, with what else may
        listen there."""
        outcomes = list(self._processes()) if processes else []
        endpoints: tuple[Endpoint, ...] = ()
        if wanted or (self._specs and not self._endpoints):
            endpoints = self._endpoints = self._driver.endpoints(self._site, self._work)
        over_network = any(spec.command is None for spec in wanted)
        return outcomes, [
            (one, self._driver.foreign_listener(self._site, self._work, one) if over_network else "")
            for one in (endpoints if wanted else ())
        ]

    async def _probe(
        self, session: aiohttp.ClientSession, spec: Probe, endpoint: Endpoint, foreign: str
    ) -> Outcome:
        """One probe of one instance. An answer counts only when the instance itself gave it: not a `foreign` one."""
        now = self.clock.now
        if foreign and spec.command is None:
            return Outcome(endpoint.index, Sample(spec.name, "unknown", now(), foreign))
        return await self._core.probes.probe(
            session,
            spec,
            instance=endpoint.index,
            values=endpoint.values,
            directory=endpoint.directory,
            environment=self._core.settings.probe_environment,
            secrets=self._secrets,
            prefix=endpoint.prefix,
            now=now,
            monotonic=self._core.clock.monotonic,
            in_thread=partial(self._core.asking.call, self._work.environment),
        )

    def _processes(self) -> Iterable[Outcome]:
        """What the engine says of every instance, as samples of the built-in probe `process`."""
        now = self.clock.now()
        try:
            seen = self._driver.observe(self._site, self._work.environment)
        except UgsError as error:
            doubt = [Sample(PROCESS_NAME, "unknown", now, str(error))] * self._work.instances
            return [Outcome(index, sample) for index, sample in enumerate(doubt)]
        observation = seen.get(self._work.service, Observation(self._work.service))
        handles = (one.handle for one in observation.instances if one.target == self._work.target)
        self._handles = tuple(filter(None, handles))
        return [self._process(index, observation, now) for index in range(self._work.instances)]

    def _used(self) -> Mapping[str, Usage]:
        """What the instances use, as the engine says."""
        return self._driver.usage(self._site, self._handles) if self._handles else {}

    def _process(self, index: int, observation: Observation, now: datetime) -> Outcome:
        for instance in observation.instances:
            if instance.index == index and instance.target == self._work.target:
                if instance.state == "running":
                    return Outcome(index, Sample(PROCESS_NAME, "healthy", now))
                if instance.state == "starting":
                    return Outcome(
                        index, Sample(PROCESS_NAME, "unknown", now, instance.detail or "it is starting")
                    )
                detail = instance.detail or "it ended and waits to be started again"
                return Outcome(index, Sample(PROCESS_NAME, "failed", now, detail))
        return Outcome(index, Sample(PROCESS_NAME, "failed", now, "it does not run"))
