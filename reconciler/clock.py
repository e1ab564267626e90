"""The one reader of the clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """`now` for instants that people see, `monotonic` for time limits, which go on while the machine sleeps,
    `sleep` for waiting, `wait` for an event (True) or the end of a time (False). Seconds."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    async def sleep(self, duration_s: float) -> None: ...
    async def wait(self, event: asyncio.Event, timeout_s: float) -> bool: ...


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
