"""Probes over time: every sample counts towards its hour, in memory first, and in the database once a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from reconciler.clock import Clock
from reconciler.model.probed import Adding, ProbedHour, hour_began
from reconciler.model.verdict import Outcome
from reconciler.store import ProbeHour, Store

WRITE_S = 60.0
BATCH_MAX = 200
"""Rows of one transaction: between two of them the loop turns."""
WAITING_MAX = 50_000
"""What finds no room, as the database takes nothing, is not counted."""


class Probed:
    """What was heard since it was last written: a daemon that is killed loses the last minute of it."""

    def __init__(self) -> None:
        self._waiting: dict[ProbeHour, Adding] = {}

    def hear(self, environment: str, service: str, outcomes: Iterable[Outcome]) -> None:
        """One round of the probes of a service."""
        for outcome in outcomes:
            sample = outcome.sample
            key = ProbeHour(environment, service, sample.probe, hour_began(sample.at))
            adding = self._waiting.get(key)
            if adding is None:
                if len(self._waiting) >= WAITING_MAX:
                    continue
                adding = self._waiting[key] = Adding()
            adding.add(outcome)

    def hours(self, store: Store, environment: str, service: str, *, since: datetime) -> list[ProbedHour]:
        """The hours of every probe of a service from then on, to its last sample: by probe, the oldest first."""
        found = {(one.probe, one.hour): one.rollup for one in store.probed(environment, service, since=since)}
        for key, adding in self._waiting.items():
            if (key.environment, key.service) == (environment, service) and key.hour >= hour_began(since):
                at, waiting = (key.probe, key.hour), adding.total()
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
            batch = {key: one.total() for key, one in islice(self._waiting.items(), BATCH_MAX)}
            store.add_probed(batch)
            for key in batch:
                del self._waiting[key]
            await asyncio.sleep(0)
