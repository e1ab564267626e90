"""A clock that scenarios move by hand."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class MovedClock:
    """The machine's clock, moved on by hand: waiting ends as soon as the moved time has come."""

    def __init__(self) -> None:
        self._moved = timedelta()
        self._set = timedelta()
        self._waiting: set[asyncio.Event] = set()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._moved + self._set

    def monotonic(self) -> float:
        return time.monotonic() + self._moved.total_seconds()

    @property
    def waiting(self) -> bool:
        """Whether someone waits for the time to pass."""
        return bool(self._waiting)

    def move(self, by: timedelta) -> None:
        self._moved += by
        for event in self._waiting:
            event.set()

    def set_by(self, by: timedelta) -> None:
        """Somebody sets the wall clock: no time has passed."""
        self._set += by

    def move_to(self, instant: datetime) -> None:
        self.move(instant - self.now())

    async def sleep(self, duration_s: float) -> None:
        await self.wait(asyncio.Event(), duration_s)

    async def wait(self, event: asyncio.Event, timeout_s: float) -> bool:
        until_s = self.monotonic() + timeout_s
        moved = asyncio.Event()
        self._waiting.add(moved)
        try:
            while not event.is_set() and (left_s := until_s - self.monotonic()) > 0:
                moved.clear()
                either = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(moved.wait())]
                _, pending = await asyncio.wait(either, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                for one in pending:
                    one.cancel()
                await asyncio.gather(*pending, return_exceptions=True)
        finally:
            self._waiting.discard(moved)
        return event.is_set()
