"""The wall clock of a machine: somebody may set it, and it may be wrong. Lengths of time are the monotonic clock's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.loop import EPOCH, Time, instant

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

SETS = (1, 1, 2, 3)
SET_BY_S = (-3600.0, -90.0, -61.0, -5.0, 5.0, 61.0, 90.0, 3600.0, 86_400.0 * 3_650)
"""Ten years at the most: TM-01 of the catalogue."""


class Wall:
    """What the clock of one machine shows."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self._ahead_s = [0.0]
        """By how much it has been ahead, the last last."""
        self._told = -1.0, EPOCH

    def now(self) -> datetime:
        if self._told[0] != self._time.now_s:  # it is asked several times at most instants
            self._told = self._time.now_s, instant(self._time.now_s + self._ahead_s[-1])
        return self._told[1]

    def set_by(self, by_s: float) -> None:
        self._ahead_s.append(self._ahead_s[-1] + by_s)
        self._told = -1.0, EPOCH

    def may_show(self, age_s: float, less_s: float) -> bool:
        """Whether something so old may pass for younger than that, since the clock was set back in between."""
        return any(0 <= age_s + self._ahead_s[-1] - ahead_s <= less_s for ahead_s in self._ahead_s)

    def moments_of(self, shown: datetime) -> Iterator[float]:
        """When it may have shown that, in virtual seconds: several, where it was set since or before."""
        shown_s = (shown - EPOCH).total_seconds()
        return (shown_s - ahead_s for ahead_s in dict.fromkeys(self._ahead_s))


def moments(simulation: Simulation, random: Random, end_s: float) -> list[tuple[float, Callable[[], None]]]:
    """Somebody sets the clock, now and then."""
    return [(random.uniform(1.0, end_s), _setting(simulation, random)) for _ in range(random.choice(SETS))]


def _setting(simulation: Simulation, random: Random) -> Callable[[], None]:
    def set_it() -> None:
        by_s = random.choice(SET_BY_S)
        simulation.note(f"the wall clock is set by {by_s:+.0f} s")
        simulation.wall.set_by(by_s)

    return set_it
