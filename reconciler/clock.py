"""The one reader of the clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """`now` for instants that people see, `monotonic` for time limits, which go on while the machine sleeps,
    `sleep` for waiting, `wait` for an event (True) or the end of a time (False). Seconds."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    async def sleep(self, duration_s: float) -> None: ...
    async def wait(self, event: asyncio.Event, timeout_s: float) -> bool: ...


class Steady:
    """Instants counted on from one by the monotonic clock: they pass alike when somebody sets the wall clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began, self._began_s = clock.now(), clock.monotonic()

    def now(self) -> datetime:
        return self._began + timedelta(seconds=self._clock.monotonic() - self._began_s)

    def catch_up(self) -> float:
        """Go on from what the wall clock shows now; how many seconds it was set by since the last time."""
        set_s = (self._clock.now() - self.now()).total_seconds()
        self._began, self._began_s = self._clock.now(), self._clock.monotonic()
        return set_s


class SystemClock:
    """The machine's own clock; `now` is aware and in UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)

    async def wait(self, event: asyncio.Event, timeout_s: float) -> bool:
        # Not wait_for: before Python 3.12 it can swallow a cancellation.
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return False
        return True
