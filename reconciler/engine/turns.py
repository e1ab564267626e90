"""Passes one after the other, and whoever waits for one that begins after he has asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.clock import Clock


class Turns:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun = self._ended = 0
        self._since_s = 0.0
        self._passed = asyncio.Event()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One pass; at its end whoever waits for it is told."""
        self._begun += 1
        number, self._since_s = self._begun, self._clock.monotonic()
        try:
            yield
        finally:
            self._ended = number
            self._passed.set()
            self._passed = asyncio.Event()

    @property
    def ended(self) -> int:
        """How many passes have ended, well or not."""
        return self._ended

    def under_way_s(self) -> float:
        """For how long the pass that is under way has been; 0 where none is."""
        return self._clock.monotonic() - self._since_s if self._begun > self._ended else 0.0

    async def next(self, within_s: float) -> bool:
        """Whether a pass that begins after this moment has ended within that time."""
        wanted, end_s = self._begun + 1, self._clock.monotonic() + within_s
        while self._ended < wanted and (left_s := end_s - self._clock.monotonic()) > 0:
            await self._clock.wait(self._passed, left_s)
        return self._ended >= wanted
