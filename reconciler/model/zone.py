"""Wall time to instants and back: the one place that knows what a zone's clocks do on a transition."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

YEARS = range(2000, 2201)

_QUARTER_DAY = timedelta(hours=6)
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?(?P<offset>[Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_HOST_DEPENDENT = ("localtime", "posixrules", "Factory", "right/", "posix/")


def check_zone(name: str) -> None:
    """Raise ValueError, with a message for people, unless `name` is an IANA time zone."""
    try:
        # `right/` counts leap seconds and `localtime` is another zone on another host.
        known = not name.startswith(_HOST_DEPENDENT) and ZoneInfo(name).key == name
    except (KeyError, ValueError, OSError):
        known = False
    if not known:
        near = difflib.get_close_matches(name[:50], available_timezones(), n=1)
        hint = f"; did you mean {near[0]}" if near else "; write one such as Europe/Berlin or UTC"
        raise ValueError(f"unknown time zone {name[:50]!r}{hint}")


def repeated(local: datetime) -> timedelta:
    """How long the overlap is in which this instant lies: zero when its wall time comes only once."""
    return local.replace(fold=1).astimezone(UTC) - local.replace(fold=0).astimezone(UTC)


def instants_at(wall: datetime, zone: ZoneInfo, *, every: bool) -> tuple[datetime, ...]:
    """The instants, in UTC, at which the zone's clocks show `wall`: the first, or every one.

    A wall time that a gap leaves out gives the first instant after the gap.
    """
    first = wall.replace(tzinfo=zone).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None, fold=0) != wall:
        return (_end_of_gap(second, first, zone),)
    return (first, second) if every and first < second else (first,)


def _end_of_gap(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The transition, to the second, between an instant before it and one at or after it."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after


def transitions(zone: str, *, since: datetime, until: datetime) -> Iterator[tuple[datetime, timedelta]]:
    """Every instant, in UTC, from which the zone's clocks are set otherwise, and by how much (back: negative)."""
    info, before, until = ZoneInfo(zone), _whole_second(since), _whole_second(until)
    while before < until:
        after = min(before + _QUARTER_DAY, until)
        old, new = (instant.astimezone(info).utcoffset() or timedelta() for instant in (before, after))
        if old != new:
            yield _end_of_gap(before, after, info), new - old
        before = after


def _whole_second(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(microsecond=0)


def first_instant(text: str, zone: str, *, days: int = 0) -> datetime:
    """The first instant of a day in the zone, `days` later, in UTC."""
    midnight = datetime.combine(parse_day(text) + timedelta(days=days), datetime.min.time())
    return instants_at(midnight, ZoneInfo(zone), every=False)[0]


def parse_day(text: str) -> date:
    """A date written as 2026-12-20. Raises ValueError, with a message for people."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if day.isoformat() != text or day.year not in YEARS:
        raise ValueError(f"{text[:50]!r} is not a date such as 2026-12-20")
    return day


def parse_instant(text: str) -> datetime:
    """An RFC 3339 instant, in its own offset. Raises ValueError, with a message for people."""
    match = _RFC_3339.fullmatch(text)
    if match and match["offset"] is None:
        raise ValueError(f"{text} has no offset from UTC; write for example {text}+01:00, or {text}Z")
    try:
        instant = datetime.fromisoformat(text.upper()) if match else None
    except ValueError:
        instant = None
    if instant is None:
        example = "2026-10-25T02:30:00+01:00"
        raise ValueError(f"{text[:50]!r} is not an instant; write it as RFC 3339 does, for example {example}")
    if instant.year not in YEARS:
        years = f"the years {YEARS[0]} to {YEARS[-1]}"
        raise ValueError(f"{text} is not in {years}; no calendar is kept for other times")
    return instant


def local_text(instant: datetime, zone: str) -> str:
    """`Sat 2026-12-05 02:00 CET`, whatever the process's locale."""
    local = instant.astimezone(ZoneInfo(zone))
    return f"{_WEEKDAYS[local.weekday()]} {local:%Y-%m-%d %H:%M %Z}"
