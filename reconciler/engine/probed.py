"""Probes over time: every sample counts towards its hour, in memory first, and in the database once a minute."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from reconciler.clock import Clock
from reconciler.model.probed import ProbedHour, Rollup, rolled_up
from reconciler.model.verdict import Outcome
from reconciler.store import ProbeHour, Store

WRITE_S = 60.0
BATCH_MAX = 500
"""Rows of one transaction: between two of them the loop turns."""
WAITING_MAX = 50_000
"""What finds no room, as the database takes nothing, is not counted."""


class Probed:
    """What was heard since it was last written: a daemon that is killed loses the last minute of it."""

    def __init__(self) -> None:
        self._waiting: dict[ProbeHour, Rollup] = {}

    def hear(self, environment: str, service: str, outcomes: Iterable[Outcome]) -> None:
        """One round of the probes of a service."""
        heard = defaultdict[ProbeHour, list[Outcome]](list)
        for outcome in outcomes:
            sample = outcome.sample
            heard[ProbeHour(environment, service, sample.probe, _hour(sample.at))].append(outcome)
        for key, some in heard.items():
            self._add(key, rolled_up(some))

    def hours(self, store: Store, environment: str, service: str, *, since: datetime) -> list[ProbedHour]:
        """The hours of every probe of a service from then on, to its last sample: by probe, the oldest first."""
        found = {(one.probe, one.hour): one.rollup for one in store.probed(environment, service, since=since)}
        for key, waiting in self._waiting.items():
            if (key.environment, key.service) == (environment, service) and key.hour >= _hour(since):
                at = key.probe, key.hour
                found[at] = found[at].plus(waiting) if at in found else waiting
        return [ProbedHour(probe, hour, rollup) for (probe, hour), rollup in sorted(found.items())]

    async def keep(self, store: Store, clock: Clock) -> None:
        """Write it every minute, for ever."""
        while True:
            await clock.sleep(WRITE_S)
            await self.write(store)

    async def write(self, store: Store) -> None:
        """Write what waits, in a few transactions. Raises what the store raises; nothing is lost by that."""
        for _ in range(-(-len(self._waiting) // BATCH_MAX)):
            batch = dict(islice(self._waiting.items(), BATCH_MAX))
            store.add_probed(batch)
            for key in batch:
                del self._waiting[key]
            await asyncio.sleep(0)

    def _add(self, key: ProbeHour, heard: Rollup) -> None:
        known = self._waiting.get(key)
        if known is not None:
            self._waiting[key] = known.plus(heard)
        elif len(self._waiting) < WAITING_MAX:
            self._waiting[key] = heard


def _hour(at: datetime) -> datetime:
    """When its hour began."""
    return at.replace(minute=0, second=0, microsecond=0)
