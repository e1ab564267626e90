"""What a benchmark found: so many figures for each of its parts."""

from __future__ import annotations

import statistics

from msgspec import Struct


class Result(Struct, frozen=True):
    """`rounds`: by part, one figure a round, in `unit`."""

    title: str
    unit: str
    rounds: dict[str, list[float]]

    def table(self) -> str:
        """Median, least and most of every part."""
        lines = [f"{self.title} ({self.unit})", f"  {'':<28} {'median':>8} {'least':>8} {'most':>8}"]
        for part, values in self.rounds.items():
            figures = (statistics.median(values), min(values), max(values))
            lines.append(f"  {part:<28} " + " ".join(f"{figure:8.1f}" for figure in figures))
        return "\n".join(lines)
