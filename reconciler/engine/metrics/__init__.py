"""The numbers that /metrics shows. What is known is gathered on the event loop, and rendered in a thread."""

from __future__ import annotations

import asyncio
from datetime import datetime

from reconciler.engine.fleet import Fleet
from reconciler.engine.metrics.gather import Known, gather
from reconciler.engine.metrics.openings import Openings
from reconciler.engine.metrics.phases import Phases
from reconciler.engine.metrics.resources import Resources


class Metrics:
    """Of one daemon, for as long as it runs."""

    def __init__(self, fleet: Fleet, started_at: datetime) -> None:
        self._fleet = fleet
        self._started_at = started_at
        self._phases = Phases()
        self._openings = Openings(fleet)
        self.resources = Resources(fleet)
        fleet.core.heard.append(self._phases.hear)

    async def exposed(self, accept: str) -> tuple[bytes, str]:
        """The answer to a scrape that accepts this, and its media type."""
        known = Known(self.resources.latest(), await self._openings.current())
        samples = gather(self._fleet, self._started_at, known)
        spreads = {key: (one.buckets(), one.sum_s) for key, one in self._phases.spreads.items()}

        def answer() -> tuple[bytes, str]:
            from reconciler.engine.metrics.scrape import rendered  # in this thread: loading it takes a while

            return rendered(accept, samples, spreads)

        return await asyncio.to_thread(answer)
