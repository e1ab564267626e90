"""Measuring one version of a service: its answers, what it uses, and what Prometheus says of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime

import aiohttp

from reconciler import prometheus
from reconciler.engine.core import Core
from reconciler.model.errors import HostError, UgsError
from reconciler.model.observation import Sample, Usage
from reconciler.model.performance import (
    TRIES_KEPT,
    Baseline,
    Measured,
    Reading,
    answered,
    incomparable,
    judged,
    measured,
)
from reconciler.model.release import Probe
from reconciler.model.target import Workload
from reconciler.model.verdict import Key, Outcome
from reconciler.probes import fill, one_line
from reconciler.prometheus import Answer

USAGE_EVERY_S = 1.0
USAGES_KEPT = 30
RATE_MIN_S = 2.0
"""Less says nothing of the processor time that is used."""


class Watch:
    """Judges a version by what is measured, as its release asks, against the baseline."""

    def __init__(self, core: Core, work: Workload, baseline: Baseline | None, *, uses: bool = False) -> None:
        """`uses`: measure what it uses, though no probe of its own asks for that."""
        self._core, self._work, self._baseline = core, work, baseline
        health = work.release.health
        skipped = incomparable(health, baseline)
        self.probes = {probe.name: probe for probe in health.measured if probe.name not in skipped}
        told = ", ".join(f"{name} ({why})" for name, why in skipped.items())
        self.passed_over = f"; not compared: {told}" if told else ""
        """What has nothing to compare with, to be added to a sentence."""
        self.expected = frozenset((index, name) for name in self.probes for index in self._indices(name))
        self._uses = uses or any(one.performance in ("memory", "cpu") for one in self.probes.values())
        self.readings: dict[Key, Reading] = {}
        """What each measure came to last."""
        self._answers: dict[Key, deque[Outcome]] = {}
        self._used: deque[tuple[float, Mapping[str, Usage]]] = deque(maxlen=USAGES_KEPT)

    def told(self) -> str:
        """What was measured last, and what could not be compared, to be added to a sentence."""
        details = {name: reading.detail for (_, name), reading in self.readings.items()}
        return "".join(f"; {detail}" for _, detail in sorted(details.items())) + self.passed_over

    def hear(self, outcomes: Iterable[Outcome]) -> None:
        """What the probes that ask instances have found."""
        for outcome in outcomes:
            key = outcome.instance, outcome.sample.probe
            if outcome.sample.latency_s is None or (outcome.silent and key not in self._answers):
                continue  # nothing was asked, or it is still starting
            self._answers.setdefault(key, deque(maxlen=TRIES_KEPT)).append(outcome)

    async def round(
        self,
        session: aiohttp.ClientSession,
        due: Collection[str],
        used: Callable[[], Mapping[str, Usage]],
        now: Callable[[], datetime],
    ) -> list[Outcome]:
        """What is due of the measures. `used` asks the engine, by the handles of the instances; it blocks."""
        await self._use(used)
        wanted = [
            (self.probes[name], index) for name in due if name in self.probes for index in self._indices(name)
        ]
        readings = await asyncio.gather(*(self._read(session, probe, index) for probe, index in wanted))
        self.readings |= {
            (index, probe.name): one for (probe, index), one in zip(wanted, readings, strict=True)
        }
        return [
            # Silent, so that a version which is slow only while it starts has until the deadline.
            Outcome(
                index, Sample(probe.name, one.verdict, now(), one_line(one.detail)), one.verdict == "failed"
            )
            for (probe, index), one in zip(wanted, readings, strict=True)
        ]

    @property
    def tries(self) -> int:
        """How often each of the probes that were heard of has asked, at the least."""
        return min(map(len, self._answers.values()), default=0)

    def measured(self) -> Measured:
        """What is known by now."""
        outcomes = [outcome for answers in self._answers.values() for outcome in answers]
        memory, cpu = self._usage()
        return measured(outcomes, memory_bytes=memory, cpu=cpu)

    async def ask(self, session: aiohttp.ClientSession, probe: Probe, index: int) -> Answer:
        """What Prometheus says of this version."""
        server, query = self._core.settings.prometheus, probe.prometheus
        if server is None or query is None:
            return Answer(None, "ugs.yaml names no `prometheus`", reached=False)
        work = self._work
        values = {
            "service": work.service,
            "environment": work.environment,
            "version": work.target.version.text,
            "instance": str(index),
        }
        try:
            token = server.token.read() if server.token else None
        except HostError as error:
            return Answer(None, str(error), reached=False)
        return await prometheus.ask(
            session, server.url, fill(query, values), token=token, timeout_s=probe.timeout_s
        )

    async def _read(self, session: aiohttp.ClientSession, probe: Probe, index: int) -> Reading:
        if probe.performance is not None:
            return judged(probe, self.measured(), self._baseline)
        answer = await self.ask(session, probe, index)
        if answer.value is None:
            return Reading("unknown", answer.detail)
        return answered(probe, answer.value, self._baseline)

    def _indices(self, name: str) -> range:
        return range(self._work.instances) if per_instance(self.probes[name]) else range(1)

    async def _use(self, used: Callable[[], Mapping[str, Usage]]) -> None:
        now_s = self._core.clock.monotonic()
        if self._uses and (not self._used or now_s - self._used[-1][0] >= USAGE_EVERY_S):
            with suppress(UgsError):  # whether the engine can be asked, the look at its instances tells
                if found := await self._core.drive(self._work.environment, used):
                    self._used.append((now_s, found))

    def _usage(self) -> tuple[float | None, float | None]:
        """Bytes, and processors, of one instance on average; None where that is not known."""
        if not self._used:
            return None, None
        last = self._used[-1][1]
        memory = sum(one.resident_bytes for one in last.values()) / len(last)
        (began_s, first), (ended_s, _) = self._used[0], self._used[-1]
        # One that was started anew meanwhile counts from 0 again.
        both = [one for one in first.keys() & last.keys() if last[one].cpu_s >= first[one].cpu_s]
        if ended_s - began_s < RATE_MIN_S or not both:
            return memory, None
        used_s = sum(last[one].cpu_s - first[one].cpu_s for one in both)
        return memory, used_s / (ended_s - began_s) / len(both)


def per_instance(probe: Probe) -> bool:
    """Whether a query is asked for each instance."""
    return "{instance}" in (probe.prometheus or "")
