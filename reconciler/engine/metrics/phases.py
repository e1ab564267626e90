"""How long upgrades stay in their phases: counted as they leave them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from reconciler.model.stay import TIMED, lasted_s
from reconciler.model.upgrade import Upgrade

BOUNDS_S = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0)
Key = tuple[str, str]
"""(environment, phase)."""


@dataclass
class Spread:
    """`counts`: one for each bound, not cumulated, and one for all that is longer."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has them: by upper bound, how many took that long at most."""
        total, found = 0, list[tuple[str, float]]()
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found


class Phases:
    """Since the daemon started: a restart begins anew, as Prometheus expects of a histogram."""

    def __init__(self) -> None:
        self.spreads: dict[Key, Spread] = {}

    def hear(self, before: Upgrade, after: Upgrade) -> None:
        """A move was made."""
        if before.phase is after.phase or before.phase not in TIMED:
            return
        spread = self.spreads.setdefault((before.environment, before.phase.value), Spread())
        stayed_s = lasted_s(before.entered_at or before.changed_at, after.changed_at)
        spread.counts[bisect_left(BOUNDS_S, stayed_s)] += 1
        spread.sum_s += stayed_s
