"""What services use, as their engines say: sampled in a thread while somebody asks, never while they wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from reconciler.engine.fleet import Fleet
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.model.engines import ENGINES
from reconciler.model.errors import UgsError
from reconciler.model.observation import Usage

EVERY_S = 10.0
Key = tuple[str, str, int]
"""(environment, service, index of the instance)."""


class Resources:
    """The last sample. Who asks gets that, and has the next one taken where it has grown old; of every environment
    for itself, so that an engine which does not answer keeps no other's numbers back."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._last: dict[str, Mapping[Key, Usage]] = {}
        self._taken_s: dict[str, float] = {}
        self._taking: dict[str, asyncio.Task[None]] = {}

    def latest(self) -> Mapping[Key, Usage]:
        """What was found last; empty before the first sample."""
        now_s = self._fleet.core.clock.monotonic()
        for name in self._last.keys() - self._fleet.passes.keys():
            del self._last[name]
        for name, here in self._fleet.passes.items():
            if now_s - self._taken_s.get(name, -EVERY_S) < EVERY_S or not self._is_measured(name):
                continue
            if (taking := self._taking.get(name)) is None or taking.done():
                self._taken_s[name] = now_s
                self._taking[name] = asyncio.create_task(self._take(here))
        return {key: used for found in self._last.values() for key, used in found.items()}

    async def taken(self) -> None:
        """Wait until the samples that are being taken are there."""
        await asyncio.gather(*self._taking.values())

    def _is_measured(self, name: str) -> bool:
        desired = self._fleet.core.desired.get(name)
        return desired is not None and ENGINES[desired.environment.driver.kind].measures

    async def _take(self, here: EnvironmentPass) -> None:
        core, name = here.core, here.name
        handles = {
            (name, service, instance.index): instance.handle
            for service, observation in here.observed.items()
            for instance in observation.instances
            if instance.handle
        }
        found: Mapping[str, Usage] = {}
        if handles:
            with suppress(UgsError):  # whether the engine can be asked, the pass tells
                wanted = frozenset(handles.values())
                found = await core.drive(name, core.driver(name).usage, core.site_of(name), wanted)
        self._last[name] = {key: found[handle] for key, handle in handles.items() if handle in found}
