"""When many notices become one message: in noisy times, and in hours that ugs.yaml names. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from reconciler.model.cron import Disagreement
from reconciler.model.environment import Window
from reconciler.model.window import current


class Digest(Struct, frozen=True):
    """Of notices of severity info alone, on each channel for itself; the others are told at once.

    `over`: noisy is more than so many within `within_s`; None: only the hours count.
    """

    over: int | None = None
    within_s: float = 600.0
    every_s: float = 900.0
    hours: tuple[Window, ...] = ()
    timezone: str = "UTC"

    def since(self, now: datetime) -> datetime:
        """From when on notices are counted."""
        return now - timedelta(seconds=self.within_s)

    def next_at(self, now: datetime) -> datetime:
        """When what is gathered now is told: at the next multiple of `every_s`."""
        return datetime.fromtimestamp((math.floor(now.timestamp() / self.every_s) + 1) * self.every_s, UTC)

    def gathers(self, told: int, now: datetime) -> bool:
        """Whether what comes now waits for the others. `told`: how many there have been since `since(now)`."""
        if self.over is not None and told > self.over:
            return True
        try:
            return any(current(window, self.timezone, now=now) for window in self.hours)
        except Disagreement:  # rather too many messages than late ones
            return False
