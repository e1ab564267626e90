"""How often each caller may ask: a bucket of requests that fills again as time passes."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

from reconciler.clock import Clock
from reconciler.model.errors import UgsError

KNOWN_MAX = 10_000
"""So many callers are told apart; whoever has not asked for longest is forgotten."""


@dataclass(frozen=True)
class Rate:
    """So many requests at once, and so many a second for as long as one likes."""

    burst: int
    per_s: float


OF_A_CALLER = Rate(burst=200, per_s=50)
OF_A_STRANGER = Rate(burst=50, per_s=5)
"""Of an address from which nobody has shown who he is."""


class TooMany(UgsError):
    """A caller asks too often."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too many requests", f"ask again in {retry_after_s} s, and less often")
        self.retry_after_s = retry_after_s


class Rates:
    """The buckets of all callers, by name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By caller: how many requests were left, and when (monotonic seconds)."""

    def take(self, who: str, rate: Rate) -> None:
        """One request of this caller. Raises TooMany."""
        left = self._now_left(who, rate)
        if left < 1:
            raise TooMany(_wait_s(left, rate))
        self._left[who] = left - 1, self._clock.monotonic()
        self._left.move_to_end(who)
        while len(self._left) > KNOWN_MAX:
            self._left.popitem(last=False)

    def look(self, who: str, rate: Rate) -> None:
        """Raise TooMany where the caller has none left."""
        if (left := self._now_left(who, rate)) < 1:
            raise TooMany(_wait_s(left, rate))

    def _now_left(self, who: str, rate: Rate) -> float:
        left, at_s = self._left.get(who, (float(rate.burst), 0.0))
        return min(rate.burst, left + (self._clock.monotonic() - at_s) * rate.per_s)


def _wait_s(left: float, rate: Rate) -> int:
    return math.ceil((1 - left) / rate.per_s)
