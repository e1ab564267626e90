"""A strict cron line, matched against wall times: five fields, and `#n` and `L` for weekdays.

Everything here is calendar arithmetic on naive wall times; zones and their transitions are window.py's.
croniter searches for the next and the previous match, because on a calendar without transitions it is right;
what it finds is checked against fields that were read here, independently of it.
"""

from __future__ import annotations

import calendar
import copy
import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from croniter import croniter

LENGTH_MAX = 200
SEARCH_YEARS_MAX = 5
LAST = -1
"""The `n` of a weekday's last occurrence in its month."""

_MINUTE = timedelta(minutes=1)
_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_LONGEST = {month: 29 if month == 2 else calendar.monthrange(2000, month)[1] for month in range(1, 13)}
_ITEM = re.compile(
    r"(?P<low>\*|[0-9]{1,2}|[a-z]{3})(-(?P<high>[0-9]{1,2}|[a-z]{3}))?(/(?P<step>[0-9]{1,2}))?"
)
_NTH = re.compile(r"(?P<day>[0-7]|[a-z]{3})#(?P<nth>[1-5])|l(?P<last>[0-7])")


class Disagreement(Exception):
    """croniter named an instant that the schedule's own fields do not allow."""


class Schedule(Struct, frozen=True):
    """The fields of one cron line, read. Weekdays count from Sunday, which is 0."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    occurrences: frozenset[tuple[int, int]]
    """(weekday, n): the nth of its month, or `LAST`. Where there are any, they stand in for `weekdays`."""
    recurring: bool
    """Minute or hour starts with `*`: it follows elapsed time, so a repeated hour repeats its starts."""

    def matches(self, wall: datetime) -> bool:
        """Whether this wall time, to the minute, is one of the schedule's."""
        if wall.minute not in self.minutes or wall.hour not in self.hours:
            return False
        if wall.month not in self.months or wall.day not in self.days:
            return False
        weekday = wall.isoweekday() % 7
        if not self.occurrences:
            return weekday in self.weekdays
        last = wall.day + 7 > calendar.monthrange(wall.year, wall.month)[1]
        nth = (wall.day + 6) // 7
        return (weekday, nth) in self.occurrences or (last and (weekday, LAST) in self.occurrences)


class _Field(Struct, frozen=True):
    """What a field may hold. `top` is the highest number that may be written (7 is Sunday again)."""

    name: str
    low: int
    high: int
    top: int
    names: dict[str, int]

    def number(self, text: str) -> int:
        if text in self.names:
            return self.names[text]
        if not text.isdigit() or not self.low <= int(text) <= self.top:
            raise ValueError(f"{self.name} {text!r} is not between {self.low} and {self.top}")
        return int(text)

    def numbers(self, text: str) -> frozenset[int]:
        """The numbers that a list of `*`, `a`, `a-b` and `…/step` names. Raises ValueError."""
        found: set[int] = set()
        for item in text.split(","):
            found.update(self._item(item))
        if "*" in text.split(",") and text != "*":
            raise ValueError(f"{self.name} {text!r}: `*` already says all; write it alone")
        return frozenset(found)

    def _item(self, item: str) -> range:
        match = _ITEM.fullmatch(item)
        if match is None:
            raise ValueError(
                f"{self.name} {item!r} is not a number, a range such as 1-5 or a step such as */2"
            )
        low, high, step = match["low"], match["high"], match["step"]
        if step is not None and not 1 <= int(step) <= self.high:
            raise ValueError(f"{self.name} {item!r}: the step must be between 1 and {self.high}")
        if low == "*":
            if high is not None:
                raise ValueError(f"{self.name} {item!r}: a range needs a number before the dash")
            return range(self.low, self.high + 1, int(step or 1))
        first = self.number(low)
        if high is None:
            if step is not None:
                raise ValueError(
                    f"{self.name} {item!r}: a step needs `*` or a range; write {low}-{self.high}/{step}"
                )
            return range(first, first + 1)
        last = self.number(high)
        if last <= first:
            raise ValueError(
                f"{self.name} {item!r}: a range must go up; write {low} alone, or split it with a comma"
            )
        return range(first, last + 1, int(step or 1))


_MINUTES = _Field("minute", 0, 59, 59, {})
_HOURS = _Field("hour", 0, 23, 23, {})
_DAYS = _Field("day of month", 1, 31, 31, {})
_MONTHS_FIELD = _Field("month", 1, 12, 12, _MONTHS)
_WEEKDAYS_FIELD = _Field("day of week", 0, 6, 7, _WEEKDAYS)


def check_cron(text: str) -> None:
    """Raise ValueError, with a message for people, for what is not a strict cron line or never matches."""
    parse(text)


@lru_cache(maxsize=1024)
def parse(text: str) -> Schedule:
    """The schedule that the line describes. Raises ValueError as `check_cron` does."""
    if len(text) > LENGTH_MAX:
        raise ValueError(f"a cron line is at most {LENGTH_MAX} characters long")
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r} holds characters that no cron line has")
    fields = text.lower().split()
    if len(fields) != 5:
        raise ValueError(
            f"{text!r} has {len(fields)} fields, not 5 (minute, hour, day of month, month, day of week)"
        )
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        raise ValueError(
            f"{text!r} restricts both day of month and day of week, which cron joins with OR; "
            "make one of them `*`"
        )
    occurrences = _occurrences(weekday)
    schedule = Schedule(
        text=text,
        minutes=_MINUTES.numbers(minute),
        hours=_HOURS.numbers(hour),
        days=_DAYS.numbers(day),
        months=_MONTHS_FIELD.numbers(month),
        weekdays=frozenset() if occurrences else frozenset(n % 7 for n in _WEEKDAYS_FIELD.numbers(weekday)),
        occurrences=occurrences,
        recurring=minute.startswith("*") or hour.startswith("*"),
    )
    if min(schedule.days) > max(_LONGEST[month] for month in schedule.months):
        raise ValueError(f"{text!r} never matches: no such month has a day {min(schedule.days)}")
    return schedule


def _occurrences(field: str) -> frozenset[tuple[int, int]]:
    items = field.split(",")
    if not any("#" in item or item.startswith("l") or item.endswith("l") for item in items):
        return frozenset()
    found: set[tuple[int, int]] = set()
    for item in items:
        match = _NTH.fullmatch(item)
        if match is None:
            raise ValueError(
                f"day of week {item!r}: write 6#1 for the first Saturday, L5 for the last Friday, "
                "and nothing else beside them"
            )
        if match["last"] is not None:
            found.add((int(match["last"]) % 7, LAST))
        else:
            found.add((_WEEKDAYS_FIELD.number(match["day"]) % 7, int(match["nth"])))
    return frozenset(found)


def previous_match(schedule: Schedule, wall: datetime) -> datetime | None:
    """The latest match at or before `wall` (naive); None when there is none within five years.

    Raises Disagreement.
    """
    # croniter's own search is strict: from the next minute it includes this one.
    return _searched(schedule, wall.replace(second=0, microsecond=0) + _MINUTE, "get_prev")


def next_match(schedule: Schedule, wall: datetime) -> datetime | None:
    """The first match after `wall` (naive); None when there is none within five years.

    Raises Disagreement.
    """
    return _searched(schedule, wall, "get_next")


def _searched(schedule: Schedule, start: datetime, direction: str) -> datetime | None:
    from croniter import CroniterBadDateError

    # A shallow copy: searching moves the copy's cursor and leaves the shared, parsed original alone.
    search = copy.copy(_parsed_by_croniter(schedule.text))
    try:
        found: datetime = getattr(search, direction)(datetime, start_time=start)
    except CroniterBadDateError:
        return None
    if not schedule.matches(found):
        raise Disagreement(f"{schedule.text!r} does not allow {found:%Y-%m-%d %H:%M}, which croniter named")
    return found


@lru_cache(maxsize=1024)
def _parsed_by_croniter(text: str) -> croniter:
    from croniter import croniter

    return croniter(text, datetime(2000, 1, 1), max_years_between_matches=SEARCH_YEARS_MAX)  # noqa: DTZ001 - wall time
