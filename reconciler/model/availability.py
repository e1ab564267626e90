"""What the calendar answers about one class at one instant: open or not, from when, until when, and does it fit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from msgspec import Struct

from reconciler.model.calendar import Timetable, TooOften, openings, timetable
from reconciler.model.cron import SEARCH_YEARS_MAX, Disagreement
from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.window import (
    CALENDAR,
    COMMIT,
    FOREVER,
    PERSON,
    Interval,
    Opening,
    frozen,
    opening,
    schedule_of,
)
from reconciler.model.zone import local_text

STEPS_MAX = 2_000
"""A window that opens every hour is followed for some months, one that opens every night for years."""
AHEAD_MAX = 500
"""So many openings are looked at for one that is long enough."""

_SEARCH = timedelta(days=366 * SEARCH_YEARS_MAX)


class Availability(Struct, frozen=True):
    """Whether a change may start, by its windows and freezes together.

    `opens_at` and `closes_at` are those of the opening that contains the instant, or of the next one; None where
    there is none, or none is known.
    """

    open: bool
    reason: str
    opens_at: datetime | None
    closes_at: datetime | None


def availability(environment: Environment, change_class: ChangeClass, *, now: datetime) -> Availability:
    """What the windows and freezes of an environment say about one class at one instant."""
    window = opening(environment, change_class, now=now)
    freeze = frozen(environment, change_class, now=now)
    is_open = window.open and freeze.open
    table = timetable(environment, change_class)
    try:
        found = _first(table, now)
    except Disagreement as doubt:
        return Availability(False, f"counts as closed: {doubt}", None, None)
    closes_at = found.end if found and found.end < FOREVER else None
    if not is_open:
        opens_at = found.start if found else None
        return Availability(False, _closed(window, freeze, opens_at, table.zone), opens_at, closes_at)
    governing, schedule = schedule_of(environment, change_class)
    reason = window.reason if schedule is None else f"the {governing} window is open"
    if closes_at is not None and closes_at == freeze.until:
        reason += f"; a freeze begins {local_text(closes_at, table.zone)}"
    elif closes_at is not None:
        reason += f" until {local_text(closes_at, table.zone)}"
    # A class that is always open, or for longer than is followed back, has no start that is known.
    known = found is not None and schedule is not None and closes_at is not None
    return Availability(True, reason, found.start if found and known else None, closes_at)


def fits(environment: Environment, change_class: ChangeClass, expected_s: float, *, now: datetime) -> Opening:
    """Whether an upgrade of that length, in seconds, ends in the opening in which it would start.

    That is the one that contains `now`, or the next: while windows or freezes are closed, it says whether they are
    all that it waits for. `until` of a closed one is the start of the next opening that is long enough. A class
    that only a person starts, or that is always open and never frozen, fits.
    """
    table = timetable(environment, change_class)
    if table.schedule == "manual":
        return Opening(True, "whoever starts it chooses the time", None, "")
    expected = timedelta(seconds=expected_s)
    try:
        first = _first(table, now)
        if first is None:
            return Opening(True, "no opening is known, and its window or a freeze says why", None, "")
        begin = max(first.start, now)
        if first.end - begin >= expected:
            until = None if first.end == FOREVER else first.end - expected
            return Opening(True, f"the expected {lasting(expected_s)} fit", until, "")
        ahead, followed_to = _ahead(table, first.end)
    except Disagreement as doubt:
        return Opening(False, f"it counts as not fitting: {doubt}", None, PERSON)
    left_s = (first.end - begin).total_seconds()
    left = f"{lasting(left_s)} are left" if begin == now else f"the next opening lasts {lasting(left_s)}"
    reason = f"the upgrade is expected to take {lasting(expected_s)}, and {left}"
    later = next((one for one in ahead if one.end - one.start >= expected), None)
    if later is None:
        searched = f" before {local_text(followed_to, table.zone)}" if followed_to else ""
        return Opening(False, f"{reason}; no later opening{searched} is long enough", None, COMMIT)
    reason += f"; it fits from {local_text(later.start, table.zone)}"
    return Opening(False, reason, later.start, CALENDAR)


def following_opening(
    environment: Environment, change_class: ChangeClass, *, now: datetime
) -> Interval | None:
    """The opening of a class's windows that contains `now`, or the next, its freezes subtracted.

    None for a class that has no windows, and where none is known or it has no end.
    """
    table = timetable(environment, change_class)
    if not isinstance(table.schedule, tuple):
        return None
    try:
        found = _first(table, now)
    except Disagreement:
        return None
    return found if found and found.end < FOREVER else None


def lasting(duration_s: float) -> str:
    """A duration for people: `2d 3h`, `2h 5m`, `3m 30s`, `45s`."""
    total = round(duration_s)
    parts = [(total // 86_400, "d"), (total // 3600 % 24, "h"), (total // 60 % 60, "m"), (total % 60, "s")]
    return " ".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def _closed(window: Opening, freeze: Opening, opens_at: datetime | None, zone: str) -> str:
    """Why a class is closed, and when it opens where that is none of the reasons' own ends."""
    closed = [gate for gate in (window, freeze) if not gate.open]
    reason, untils = "; ".join(gate.reason for gate in closed), [gate.until for gate in closed]
    if None in untils or opens_at in untils:
        return reason
    if opens_at is None:
        return f"{reason}; no opening outside the freezes is known"
    return f"{reason}; outside the freezes it opens {local_text(opens_at, zone)}"


@lru_cache(maxsize=256)
def _first(table: Timetable, now: datetime) -> Interval | None:
    """The opening that contains `now`, else the next. One that is followed no further ends in FOREVER.

    A pass asks at one instant for many services: hence the cache.
    """
    if table.schedule is None and not table.freezes:  # as most environments are
        return Interval(now.astimezone(UTC), FOREVER)
    try:
        return next(openings(table, since=now, until=now + _SEARCH, steps_max=STEPS_MAX), None)
    except TooOften as often:
        return Interval(often.begun, FOREVER) if often.begun and often.begun <= now else None


@lru_cache(maxsize=256)
def _ahead(table: Timetable, after: datetime) -> tuple[tuple[Interval, ...], datetime | None]:
    """The openings after the one that ends at `after`, and how far they were followed (None: five years).

    The same is asked in every pass until the next has begun: hence the cache.
    """
    found: list[Interval] = []
    try:
        for one in openings(table, since=after, until=after + _SEARCH, steps_max=STEPS_MAX):
            found.append(one)
            if len(found) == AHEAD_MAX:
                return tuple(found), one.end
    except TooOften as often:
        return tuple(found), often.at
    return tuple(found), None
