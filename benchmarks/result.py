"""What a benchmark found: so many figures for each of its parts."""

from __future__ import annotations

import math
import statistics

from msgspec import Struct


class Result(Struct, frozen=True):
    """`rounds`: by part, one figure a round, in `unit`."""

    title: str
    unit: str
    rounds: dict[str, list[float]]

    def table(self) -> str:
        """Median, 95th percentile, least and most of every part."""
        heads = " ".join(f"{head:>8}" for head in ("median", "p95", "least", "most"))
        lines = [f"{self.title} ({self.unit})", f"  {'':<33} {heads}"]
        for part, values in self.rounds.items():
            p95 = sorted(values)[math.ceil(0.95 * len(values)) - 1]
            figures = (statistics.median(values), p95, min(values), max(values))
            lines.append(f"  {part:<33} " + " ".join(f"{figure:8.1f}" for figure in figures))
        return "\n".join(lines)
