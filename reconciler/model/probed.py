"""What a probe came to within an hour: how often it was asked, how often it failed, and how long answers took."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Struct

from reconciler.model.verdict import Outcome

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Latencies between two are counted together. The table `probe_hours` has a column for each, and one for the rest."""
NONE = (0,) * (len(BOUNDS_S) + 1)


class Rollup(Struct, frozen=True):
    """Over all instances. Latencies are those of healthy samples alone: `counts` by BOUNDS_S, not cumulated."""

    samples: int = 0
    failed: int = 0
    doubtful: int = 0
    """The check could not be made, which proves nothing."""
    sum_s: float = 0.0
    max_s: float = 0.0
    counts: tuple[int, ...] = NONE

    @property
    def timed(self) -> int:
        """Of how many samples the latency is known."""
        return sum(self.counts)

    @property
    def mean_s(self) -> float | None:
        return self.sum_s / self.timed if self.timed else None

    @property
    def p95_s(self) -> float | None:
        """Within which 95 % of the answers came: estimated within the bounds between which it lies."""
        return self._within(0.95)

    def plus(self, other: Rollup) -> Rollup:
        """Both together."""
        return Rollup(
            self.samples + other.samples,
            self.failed + other.failed,
            self.doubtful + other.doubtful,
            self.sum_s + other.sum_s,
            max(self.max_s, other.max_s),
            tuple(one + more for one, more in zip(self.counts, other.counts, strict=True)),
        )

    def _within(self, share: float) -> float | None:
        rank, below = share * self.timed, 0
        for index, count in enumerate(self.counts):
            if count and below + count >= rank:
                low = BOUNDS_S[index - 1] if index else 0.0
                high = BOUNDS_S[index] if index < len(BOUNDS_S) else self.max_s
                return min(self.max_s, low + (high - low) * (rank - below) / count)
            below += count
        return None


class ProbedHour(Struct, frozen=True):
    """One hour of one probe. `hour` is when it began, in UTC."""

    probe: str
    hour: datetime
    rollup: Rollup


@dataclass(slots=True)
class Adding:
    """A rollup in the making: every sample passes here, so that nothing is made anew for each."""

    samples: int = 0
    failed: int = 0
    doubtful: int = 0
    sum_s: float = 0.0
    max_s: float = 0.0
    counts: list[int] = field(default_factory=lambda: list(NONE))

    def add(self, outcome: Outcome) -> None:
        """One more sample."""
        verdict, latency_s = outcome.sample.verdict, outcome.sample.latency_s
        self.samples += 1
        if verdict == "failed":
            self.failed += 1
        elif verdict == "unknown":
            self.doubtful += 1
        elif latency_s is not None:
            self.sum_s += latency_s
            self.max_s = max(self.max_s, latency_s)
            self.counts[bisect_left(BOUNDS_S, latency_s)] += 1

    def total(self) -> Rollup:
        """What they come to so far."""
        return Rollup(self.samples, self.failed, self.doubtful, self.sum_s, self.max_s, tuple(self.counts))


def hour_began(at: datetime) -> datetime:
    """When the hour of this instant began."""
    return at.replace(minute=0, second=0, microsecond=0)
