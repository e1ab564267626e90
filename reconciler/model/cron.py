"""A strict cron line, matched against wall times: five fields, and `#n` and `L` for weekdays.

Everything here is calendar arithmetic on naive wall times; zones and their transitions are window.py's.
croniter searches for the next and the previous match, because on a calendar without transitions it is right;
what it finds is checked against fields that were read here, independently of it.
"""

from __future__ import annotations

import calendar
import copy
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from croniter import croniter

LENGTH_MAX = 200
SEARCH_YEARS_MAX = 5
LAST = -1
"""The `n` of a weekday's last occurrence in its month."""
Days = Literal["either", "both"]
"""How a day of the month and a day of the week go together: a day that either names, or one that both name."""

_MINUTE = timedelta(minutes=1)
_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_EVERY_KIND_OF_YEAR = range(2000, 2028)
"""Common and leap ones, each beginning on every day of the week."""
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
    either: bool
    """A day that one of the two day fields names will do; otherwise both must name it."""
    lines: tuple[str, ...]
    """The cron lines, each with its day fields joined by AND, that name together what the schedule names."""

    def matches(self, wall: datetime) -> bool:
        """Whether this wall time, to the minute, is one of the schedule's."""
        return wall.minute in self.minutes and wall.hour in self.hours and self.names_day(wall)

    def names_day(self, day: date) -> bool:
        """Whether there is a start on this day."""
        if day.month not in self.months:
            return False
        if self.either:
            return day.day in self.days or self._names_weekday(day)
        return day.day in self.days and self._names_weekday(day)

    def _names_weekday(self, day: date) -> bool:
        weekday = day.isoweekday() % 7
        if not self.occurrences:
            return weekday in self.weekdays
        last = day.day + 7 > calendar.monthrange(day.year, day.month)[1]
        nth = (day.day + 6) // 7
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


def check_cron(text: str, days: Days | None = None) -> None:
    """Raise ValueError, with a message for people, for what is not a strict cron line or never matches."""
    parse(text, days)


@lru_cache(maxsize=1024)
def parse(text: str, days: Days | None = None) -> Schedule:
    """The schedule that the line describes. Raises ValueError as `check_cron` does.

    `days`: how its two day fields are meant to go together; to be given if, and only if, both leave days out.
    """
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
    if days is None and day != "*" and weekday != "*":
        raise ValueError(
            f"{text!r} restricts both day of month and day of week, which cron joins with OR; "
            "make one of them `*`, or add `days: either` if that is meant, `days: both` for days that both name"
        )
    occurrences = _occurrences(weekday)
    either = days == "either"
    schedule = Schedule(
        text=text,
        minutes=_MINUTES.numbers(minute),
        hours=_HOURS.numbers(hour),
        days=_DAYS.numbers(day),
        months=_MONTHS_FIELD.numbers(month),
        weekdays=frozenset() if occurrences else frozenset(n % 7 for n in _WEEKDAYS_FIELD.numbers(weekday)),
        occurrences=occurrences,
        recurring=minute.startswith("*") or hour.startswith("*"),
        either=either,
        # Beside `#n` and `L` croniter's OR goes wrong: it is asked for each of the two by itself.
        lines=(f"{minute} {hour} {day} {month} *", f"{minute} {hour} * {month} {weekday}")
        if either
        else (text,),
    )
    if days is not None and (len(schedule.days) == _DAYS.high or len(schedule.weekdays) == len(_WEEKDAYS)):
        message = f"`days: {days}` says nothing where {text!r} has every day of the month or of the week"
        raise ValueError(f"{message}; remove it, and write `*` in the field that has every day")
    if min(schedule.days) > max(_LONGEST[month] for month in schedule.months):
        raise ValueError(f"{text!r} never matches: no such month has a day {min(schedule.days)}")
    if days == "both" and not _has_days(schedule):
        raise ValueError(f"{text!r} never matches: no day is both such a day of the month and of the week")
    return schedule


def _has_days(schedule: Schedule) -> bool:
    months = ((year, month) for year in _EVERY_KIND_OF_YEAR for month in schedule.months)
    dates = (
        date(*month, day)
        for month in months
        for day in schedule.days
        if day <= calendar.monthrange(*month)[1]
    )
    return any(map(schedule.names_day, dates))


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
    return max(_searched(schedule, wall.replace(second=0, microsecond=0) + _MINUTE, "get_prev"), default=None)


def next_match(schedule: Schedule, wall: datetime) -> datetime | None:
    """The first match after `wall` (naive); None when there is none within five years.

    Raises Disagreement.
    """
    return min(_searched(schedule, wall, "get_next"), default=None)


def _searched(schedule: Schedule, start: datetime, direction: str) -> Iterator[datetime]:
    """What each of the schedule's lines names nearest to `start`, where it names any."""
    from croniter import CroniterBadDateError

    for line in schedule.lines:
        # A shallow copy: searching moves the copy's cursor and leaves the shared, parsed original alone.
        search = copy.copy(_parsed_by_croniter(line))
        try:
            found: datetime = getattr(search, direction)(datetime, start_time=start)
        except CroniterBadDateError:
            continue
        if not schedule.matches(found):
            raise Disagreement(
                f"{schedule.text!r} does not allow {found:%Y-%m-%d %H:%M}, which croniter named"
            )
        yield found


@lru_cache(maxsize=1024)
def _parsed_by_croniter(text: str) -> croniter:
    from croniter import croniter

    begin = datetime(2000, 1, 1)  # noqa: DTZ001 - wall time
    return croniter(text, begin, max_years_between_matches=SEARCH_YEARS_MAX, day_or=False)
