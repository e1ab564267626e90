"""One row of the table: what was asked, what it may cost, what it cost, and what the bare tools need for the same."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")
ROUNDS = 5
KIB_PER_MB = 1e6 / 1024


class Row(Struct, frozen=True):
    """`figure`, `bound` and `floor` in `unit`. `floor`: the same work by the bare tools; None where there is none.

    `factor`: the bound is so many times the floor, where that is what was asked.
    """

    what: str
    unit: str
    figure: float
    bound: float | None = None
    floor: float | None = None
    factor: float | None = None
    at_least: bool = False
    curve: str = ""
    pins: int = 0
    """Where the row is a point of a curve: which, and of how many pins."""

    @property
    def limit(self) -> float | None:
        return self.factor * self.floor if self.factor and self.floor else self.bound

    @property
    def kept(self) -> bool:
        limit = self.limit
        if limit is None:
            return True
        return self.figure >= limit if self.at_least else self.figure <= limit


def table(rows: list[Row]) -> str:
    """For people: green or red, figure, bound, floor, and the ratio to the floor."""
    width = max(len(row.what) for row in rows)
    lines = [f"  {'':<{width}} {'':>5} {'figure':>10} {'bound':>10} {'floor':>10} {'ratio':>6}"]
    for row in rows:
        limit = "" if row.limit is None else f"{row.limit:.1f}"
        floor = "" if row.floor is None else f"{row.floor:.1f}"
        ratio = "" if not row.floor else f"{row.figure / row.floor:.1f}"
        verdict = "" if row.limit is None else "green" if row.kept else "RED"
        figure = f"{row.figure:.1f}"
        lines.append(
            f"  {row.what:<{width}} {verdict:>5} {figure:>10} {limit:>10} {floor:>10} {ratio:>6}  {row.unit}"
        )
    return "\n".join(lines)


def markdown(rows: list[Row]) -> str:
    """The same for a page."""
    lines = ["| Row | | Figure | Bound | Floor | Ratio | |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        limit = "" if row.limit is None else f"{row.limit:.1f}"
        floor = "" if row.floor is None else f"{row.floor:.1f}"
        ratio = "" if not row.floor else f"{row.figure / row.floor:.1f}"
        verdict = "" if row.limit is None else "green" if row.kept else "RED"
        lines.append(
            f"| {row.what} | {verdict} | {row.figure:.1f} | {limit} | {floor} | {ratio} | {row.unit} |"
        )
    return "\n".join(lines)


def paired_ms(ours: Callable[[], object], floor: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Milliseconds of CPU, this process's and its children's, that both take in turn: the floor's median, and that
    times the median of the ratios of each pair, so that what else the machine does cancels out."""
    pairs = [(_spent_ms(ours), _spent_ms(floor)) for _ in range(rounds)]
    bare = statistics.median(one for _, one in pairs)
    return bare * statistics.median(one / other for one, other in pairs), bare


def _spent_ms(call: Callable[[], object]) -> float:
    before = used_s()
    call()
    return (used_s() - before) * 1000


def used_s() -> float:
    """Seconds of CPU that this process has used, and the children that it has waited for."""
    both = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(one.ru_utime + one.ru_stime for one in both)


def wall_ms(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median of so many, in milliseconds that passed."""
    return statistics.median(_timed(call, time.perf_counter) for _ in range(rounds))


def cpu_ms(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median of so many, in milliseconds of this process's CPU."""
    return statistics.median(_timed(call, time.process_time) for _ in range(rounds))


def _timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    began = clock()
    call()
    return (clock() - began) * 1000
