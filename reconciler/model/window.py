"""Maintenance windows and freezes: when an environment may change.

A window opens at each instant that its cron line names on the zone's clocks, for a duration of elapsed time,
half-open. A start that falls into a spring gap moves to the first instant after the gap; one that falls into
an autumn overlap counts once, at the first, unless its minute or hour is a `*`, which follows elapsed time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from msgspec import Struct

from reconciler.model.cron import Disagreement, check_cron, next_match, parse, previous_match
from reconciler.model.environment import ChangeClass, Environment, Freeze, Schedule, Window
from reconciler.model.zone import check_zone, first_instant, instants_at, local_text, parse_day, repeated

__all__ = [
    "Interval",
    "Opening",
    "Source",
    "check_cron",
    "check_freeze",
    "check_window",
    "check_zone",
    "current",
    "following",
    "freeze_source",
    "frozen",
    "opening",
    "schedule_of",
    "window_source",
]

DURATION_DAYS_MAX = 366
UNION_STEPS_MAX = 400
FOLLOWS: dict[ChangeClass, ChangeClass] = {"config": "patch", "removal": "major"}
"""A class that has no windows of its own follows another's."""

FOREVER = datetime.max.replace(tzinfo=UTC)

_MINUTE = timedelta(minutes=1)
_GAP_MAX = timedelta(days=400)
CALENDAR = "the calendar"
COMMIT = "a commit that changes the environment"
STARTER = "a person who starts it"
PERSON = "a person: this is a bug in UGS, please report it"


class Interval(Struct, frozen=True):
    """Half-open `[start, end)`; both aware and in UTC."""

    start: datetime
    end: datetime


class Opening(Struct, frozen=True, gc=False):
    """Whether something may start now. `until`: when an open one closes or a closed one opens.

    None there is never, or always. `opened_by`: who or what opens a closed one; empty when it is open.
    """

    open: bool
    reason: str
    until: datetime | None
    opened_by: str


def check_window(window: Window, zone: str) -> None:
    """Raise ValueError, with a message for people, for a window that cannot be."""
    check_zone(zone)
    check_cron(window.cron, window.days)
    _check_duration(window.duration_s)


def check_freeze(freeze: Freeze) -> None:
    """Raise ValueError, with a message for people, for a freeze that cannot be."""
    if freeze.cron is not None:
        check_cron(freeze.cron, freeze.days)
        _check_duration(freeze.duration_s or 0.0)
        return
    first, last = (parse_day(text) if text is not None else None for text in (freeze.from_, freeze.until))
    if first is None and last is None:
        raise ValueError("a freeze needs `from` and `until`, or `cron` and `duration`")
    if first is not None and last is not None and last < first:
        raise ValueError(f"the freeze ends on {last}, before it begins on {first}")


def current(window: Window, zone: str, *, now: datetime) -> Interval | None:
    """The opening of a checked window that contains `now`, if one does. Raises Disagreement."""
    start = _gap(window, zone).last_start(now.astimezone(UTC))
    if start is None:
        return None
    end = start + timedelta(seconds=window.duration_s)
    return Interval(start, end) if now < end else None


def following(window: Window, zone: str, *, now: datetime) -> Interval | None:
    """The next opening that starts after `now`; None when there is none within five years.

    Raises Disagreement.
    """
    start = _gap(window, zone).next_start(now.astimezone(UTC))
    return None if start is None else Interval(start, start + timedelta(seconds=window.duration_s))


def opening(environment: Environment, change_class: ChangeClass, *, now: datetime) -> Opening:
    """Whether a change of this class may start now, as far as its windows go (freezes apart)."""
    governing, windows = schedule_of(environment, change_class)
    if windows is None:
        return Opening(open=True, reason=f"no window limits {change_class} changes", until=None, opened_by="")
    if windows == "manual":
        return Opening(False, f"{change_class} changes start only when a person starts them", None, STARTER)
    zone = environment.timezone or "UTC"
    sources = [window_source(window, zone) for window in windows]
    try:
        end, _ = _union(sources, now)
        if end > now:
            return Opening(True, f"the {governing} window is open until {local_text(end, zone)}", end, "")
        start = _earliest(sources, now)
    except Disagreement as doubt:
        return Opening(False, f"the {governing} window counts as closed: {doubt}", None, PERSON)
    if start is None:
        return Opening(False, f"the {governing} window does not open within five years", None, COMMIT)
    return Opening(False, f"the {governing} window opens {local_text(start, zone)}", start, CALENDAR)


def frozen(environment: Environment, change_class: ChangeClass, *, now: datetime) -> Opening:
    """Whether a freeze keeps a change of this class from starting now: `open` means that none does."""
    zone = environment.timezone or "UTC"
    applying = [freeze for freeze in environment.freezes if change_class not in freeze.except_]
    if not applying:
        return Opening(True, f"no freeze holds {change_class} changes", None, "")
    sources = [freeze_source(freeze, zone) for freeze in applying]
    try:
        end, covering = _union(sources, now)
        if end > now:
            reasons = "; ".join(dict.fromkeys(applying[index].reason for index in covering))
            if end == FOREVER:
                return Opening(False, f"frozen with no end: {reasons}", None, COMMIT)
            return Opening(False, f"frozen until {local_text(end, zone)}: {reasons}", end, CALENDAR)
        start = _earliest(sources, now)
    except Disagreement as doubt:
        return Opening(False, f"counts as frozen: {doubt}", None, PERSON)
    if start is None:
        return Opening(True, f"no freeze holds {change_class} changes", None, "")
    return Opening(True, f"no freeze before {local_text(start, zone)}", start, "")


def schedule_of(environment: Environment, change_class: ChangeClass) -> tuple[ChangeClass, Schedule]:
    """The class whose windows govern this one, and when those let it start."""
    own = change_class in environment.windows
    governing = change_class if own else FOLLOWS.get(change_class, change_class)
    return governing, environment.windows.get(governing)


class Source(Struct, frozen=True):
    """Where intervals come from: the one that contains an instant, and the next that starts after it."""

    at: Callable[[datetime], Interval | None]
    after: Callable[[datetime], Interval | None]


def window_source(window: Window, zone: str) -> Source:
    return Source(
        lambda now: current(window, zone, now=now),
        lambda now: following(window, zone, now=now),
    )


def freeze_source(freeze: Freeze, zone: str) -> Source:
    if freeze.cron is not None:
        return window_source(Window(freeze.cron, freeze.duration_s or 0.0, freeze.days), zone)
    start = first_instant(freeze.from_, zone) if freeze.from_ else datetime.min.replace(tzinfo=UTC)
    end = first_instant(freeze.until, zone, days=1) if freeze.until else FOREVER
    whole = Interval(start, end)
    return Source(
        lambda now: whole if start <= now < end else None,
        lambda now: whole if now < start else None,
    )


def _union(sources: list[Source], now: datetime) -> tuple[datetime, list[int]]:
    """When the union of intervals around `now` ends, and which sources reach into it. `now`: none does.

    After a bounded number of steps the end that was reached is given: it is at least that.
    """
    end = now.astimezone(UTC)
    covering: list[int] = []
    for _ in range(UNION_STEPS_MAX):
        reached = {index: found.end for index, source in enumerate(sources) if (found := source.at(end))}
        if not reached:
            break
        covering += reached
        end = max(reached.values())
        if end == FOREVER:
            break
    return end, covering


def _earliest(sources: Iterable[Source], now: datetime) -> datetime | None:
    return min((found.start for source in sources if (found := source.after(now))), default=None)


class _Gap:
    """Two starts of one window with none between them, found last: as long as it is between them, both are known."""

    __slots__ = ("_asked", "_between", "_window", "_zone")

    def __init__(self, window: Window, zone: str) -> None:
        self._window, self._zone = window, zone
        self._asked: tuple[datetime, datetime] | None = None
        """An instant, and the latest start at or before it."""
        self._between: tuple[datetime, datetime] | None = None

    # Each is read and set as a whole, so that threads may share it.

    def last_start(self, now: datetime) -> datetime | None:
        """The latest start at or before `now`."""
        between = self._between
        if between and between[0] <= now < between[1]:
            return between[0]
        start = _last_start(self._window, self._zone, now)
        self._asked = (now, start) if start else None
        return start

    def next_start(self, now: datetime) -> datetime | None:
        """The first start after `now`, None when there is none within five years."""
        between, asked = self._between, self._asked
        if between and between[0] <= now < between[1]:
            return between[1]
        start = _next_start(self._window, self._zone, now)
        # Of what lies farther apart, it hangs on the instant whether a search finds it.
        if start and asked and asked[0] == now and start - asked[1] < _GAP_MAX:
            self._between = asked[1], start
        return start


@lru_cache(maxsize=1024)
def _gap(window: Window, zone_name: str) -> _Gap:
    return _Gap(window, zone_name)


@lru_cache(maxsize=4096)
def _last_start(window: Window, zone_name: str, now: datetime) -> datetime | None:
    """The latest start at or before `now`. A pass asks at one instant for many services: hence the cache."""
    schedule, zone = parse(window.cron, window.days), ZoneInfo(zone_name)
    local = now.astimezone(zone)
    wall = local.replace(tzinfo=None, fold=0)
    # In the second pass of an overlap, wall times ahead of this one have already had their first.
    match = previous_match(schedule, wall + repeated(local) if local.fold else wall)
    latest: datetime | None = None
    while match is not None:
        past = [instant for instant in instants_at(match, zone, every=schedule.recurring) if instant <= now]
        latest = max([*past, latest] if latest else past, default=None)
        if match <= wall:
            break
        match = previous_match(schedule, match - _MINUTE)
    return latest


@lru_cache(maxsize=4096)
def _next_start(window: Window, zone_name: str, now: datetime) -> datetime | None:
    """The first start after `now`, None when there is none within five years."""
    schedule, zone = parse(window.cron, window.days), ZoneInfo(zone_name)
    local = now.astimezone(zone)
    wall = local.replace(tzinfo=None, fold=0)
    # In the first pass of an overlap, wall times behind this one come a second time.
    behind = schedule.recurring and not local.fold
    match = next_match(schedule, wall - repeated(local) if behind else wall)
    earliest: datetime | None = None
    while match is not None:
        instants = instants_at(match, zone, every=schedule.recurring)
        ahead = [instant for instant in instants if instant > now]
        earliest = min([*ahead, earliest] if earliest else ahead, default=None)
        if instants[0] > now:
            break
        match = next_match(schedule, match)
    return earliest


def _check_duration(duration_s: float) -> None:
    if not (math.isfinite(duration_s) and 0 < duration_s <= DURATION_DAYS_MAX * 86400):
        raise ValueError(f"a duration must be more than nothing and at most {DURATION_DAYS_MAX} days")
