"""Probes over time, as a service's page draws them: how it was, and for each probe its latencies and failures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from msgspec import Struct

from reconciler.api.probes import begun, first_hour
from reconciler.api.web.page import Pages
from reconciler.model.probed import ProbedHour
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.store import Transition

WIDTH = 720
LATENCY_HEIGHT = 64
FAILED_TOP, FAILED_HEIGHT = 70, 18
SPANS = {"24h": 24, "7d": 7 * 24}
"""By how the address says it: how many hours are shown. The first one unless another is asked for."""
PROBES_MAX = 10
HOUR = timedelta(hours=1)


class Stretch(Struct, frozen=True):
    """A piece of the strip of health: where it begins and how wide it is, in units of WIDTH."""

    x: float
    width: float
    state: str


class Column(Struct, frozen=True):
    """One hour of one probe. Heights are in the chart's units; `y` is where the latency's column begins."""

    hour: ProbedHour
    x: float
    width: float
    p95: float
    mean: float
    failed: float


class Mark(Struct, frozen=True):
    """An upgrade that was begun then. `well`: it succeeded, or is under way."""

    x: float
    upgrade: Upgrade
    well: bool


class Chart(Struct, frozen=True):
    """One probe, `samples` and `failed` of all its hours. `top_s`: the latency at the upper edge, if any is known."""

    probe: str
    columns: list[Column]
    top_s: float | None
    samples: int
    failed: int


class Drawn(Struct, frozen=True):
    """What a page draws. `marks` are on every chart."""

    span: str
    hours: int
    since: datetime
    health: list[Stretch]
    transitions: list[Transition]
    charts: list[Chart]
    left_out: int
    marks: list[Mark]


def drawn(pages: Pages, environment: str, service: str, span: str) -> Drawn:
    """Of so many hours to now, as the address asks for."""
    core, now = pages.core, pages.core.clock.now()
    span = span if span in SPANS else next(iter(SPANS))
    hours = SPANS[span]
    since = first_hour(now, hours)
    transitions = core.store.transitions(environment, service, since=since)
    found = core.probed.hours(core.store, environment, service, since=since)
    charts = [
        _chart(probe, list(some), since, hours) for probe, some in groupby(found, lambda one: one.probe)
    ]
    return Drawn(
        span,
        hours,
        since,
        stretches(transitions, since, now),
        transitions,
        charts[:PROBES_MAX],
        max(0, len(charts) - PROBES_MAX),
        _marks(begun(pages.daemon, environment, service, since), since, hours),
    )


def about() -> dict[str, Any]:
    """The measures that the template draws by."""
    return {
        "chart_width": WIDTH,
        "chart_height": FAILED_TOP + FAILED_HEIGHT,
        "latency_height": LATENCY_HEIGHT,
        "spans": SPANS,
    }


def stretches(transitions: Sequence[Transition], since: datetime, now: datetime) -> list[Stretch]:
    """Each state from when it began to the next one. `transitions` are the oldest first."""
    scale = WIDTH / (now - since).total_seconds() if now > since else 0.0
    ends = [*(one.since for one in transitions[1:]), now][: len(transitions)]
    found = []
    for one, end in zip(transitions, ends, strict=True):
        x = max(0.0, (one.since - since).total_seconds() * scale)
        to = (end - since).total_seconds() * scale
        if to > x:
            found.append(Stretch(round(x, 1), round(max(1.0, to - x), 1), one.state))
    return found


def _chart(probe: str, found: list[ProbedHour], since: datetime, hours: int) -> Chart:
    p95s_s = [one.rollup.p95_s for one in found if one.rollup.p95_s is not None]
    top_s = max(p95s_s, default=None)
    wide = WIDTH / hours
    return Chart(
        probe,
        [_column(one, round((one.hour - since) / HOUR * wide, 1), wide, top_s) for one in found],
        top_s,
        sum(one.rollup.samples for one in found),
        sum(one.rollup.failed for one in found),
    )


def _column(one: ProbedHour, x: float, wide: float, top_s: float | None) -> Column:
    found = one.rollup

    def high(value_s: float | None) -> float:
        """At least a unit, where there is something."""
        if value_s is None or not top_s:
            return 0.0
        return round(max(1.0, min(1.0, value_s / top_s) * LATENCY_HEIGHT), 1)

    failed = max(3.0, found.failed / found.samples * FAILED_HEIGHT) if found.failed else 0.0
    return Column(one, x, round(wide * 0.8, 1), high(found.p95_s), high(found.mean_s), round(failed, 1))


def _marks(upgrades: Sequence[Upgrade], since: datetime, hours: int) -> list[Mark]:
    return [
        Mark(
            round((one.started_at - since) / HOUR * WIDTH / hours, 1),
            one,
            not one.final or one.phase is Phase.SUCCEEDED,
        )
        for one in upgrades
        if one.started_at is not None
    ]
