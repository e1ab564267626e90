"""What services use of this machine: sampled in a thread while somebody asks, never while they wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from reconciler.drivers.machine.usage import Usage, usage
from reconciler.engine.fleet import Fleet
from reconciler.model.engines import ENGINES

EVERY_S = 10.0
Key = tuple[str, str, int]
"""(environment, service, index of the instance)."""


class Resources:
    """The last sample. Who asks gets that, and has the next one taken where it has grown old."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._last: Mapping[Key, Usage] = {}
        self._taken_s = -EVERY_S
        self._taking: asyncio.Task[None] | None = None

    def latest(self) -> Mapping[Key, Usage]:
        """What was found last; empty before the first sample."""
        now_s = self._fleet.core.clock.monotonic()
        if now_s - self._taken_s >= EVERY_S and (self._taking is None or self._taking.done()):
            self._taken_s = now_s
            self._taking = asyncio.create_task(self._take(dict(self._mains())))
        return self._last

    async def taken(self) -> None:
        """Wait until the sample that is being taken is there."""
        if self._taking:
            await self._taking

    def _mains(self) -> Iterator[tuple[Key, int]]:
        """The main process of every instance that runs on this machine."""
        for name, here in self._fleet.passes.items():
            desired = self._fleet.core.desired.get(name)
            if desired is None or not ENGINES[desired.environment.driver.kind].here:
                continue
            for service, observation in here.observed.items():
                for instance in observation.instances:
                    if instance.pid is not None:
                        yield (name, service, instance.index), instance.pid

    async def _take(self, mains: Mapping[Key, int]) -> None:
        found = await asyncio.to_thread(usage, frozenset(mains.values()))
        self._last = {key: found[pid] for key, pid in mains.items() if pid in found}
