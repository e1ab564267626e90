"""A year of an environment day by day: which classes can start on it, and what is frozen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from reconciler.model.calendar import TooOften, openings, starts, timetable
from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.window import Interval, freeze_source
from reconciler.model.zone import first_instant

_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)


class Day(Struct, frozen=True):
    """What is so at some time of this day: the classes that are open, and the reasons of the freezes."""

    date: date
    open: tuple[ChangeClass, ...]
    frozen: tuple[str, ...]


class Year(Struct, frozen=True):
    """The days of a year on which anything is open or frozen. `unlisted`: classes that open too often to say when.

    Classes without windows of their own are in neither.
    """

    year: int
    days: tuple[Day, ...]
    unlisted: tuple[ChangeClass, ...]


def year_of(environment: Environment, year: int) -> Year:
    """The calendar of one year, in the environment's zone. Raises TooOften for a freeze, and Disagreement."""
    zone = environment.timezone or "UTC"
    whole = Interval(first_instant(f"{year}-01-01", zone), first_instant(f"{year}-12-31", zone, days=1))
    opened = defaultdict[date, list[ChangeClass]](list)
    frozen = defaultdict[date, list[str]](list)
    unlisted: list[ChangeClass] = []
    for name, schedule in environment.windows.items():
        if not isinstance(schedule, tuple):
            continue
        try:
            found = list(openings(timetable(environment, name), since=whole.start, until=whole.end))
        except TooOften:
            unlisted.append(name)
            continue
        for day in dict.fromkeys(day for one in found for day in _dates(one, whole, zone)):
            opened[day].append(name)
    for freeze in environment.freezes:
        held = starts(freeze_source(freeze, zone), since=whole.start, until=whole.end)
        for day in dict.fromkeys(day for one in held for day in _dates(one, whole, zone)):
            frozen[day].append(freeze.reason)
    days = [Day(day, tuple(opened[day]), tuple(frozen[day])) for day in sorted({*opened, *frozen})]
    return Year(year, tuple(days), tuple(unlisted))


def _dates(one: Interval, whole: Interval, zone: str) -> Iterator[date]:
    """The days in the zone that an interval touches, as far as it lies within the whole."""
    day = _date(max(one.start, whole.start), zone)
    last = _date(min(one.end, whole.end) - _INSTANT, zone)
    while day <= last:
        yield day
        day += _DAY


def _date(instant: datetime, zone: str) -> date:
    return instant.astimezone(ZoneInfo(zone)).date()
