"""What is legal in an environment's windows and freezes, and hardly what its author meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import combinations, islice
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from reconciler.model.availability import lasting
from reconciler.model.calendar import TooOften, openings, starts, timetable
from reconciler.model.cron import Disagreement, parse
from reconciler.model.document import Path
from reconciler.model.environment import ChangeClass, Environment, Window
from reconciler.model.window import FOREVER, Interval, frozen, schedule_of, window_source
from reconciler.model.zone import local_text, transitions

AHEAD = timedelta(days=400)
NIGHTS_AHEAD = timedelta(days=2 * 366)
NEARLY_ALWAYS = timedelta(hours=3)
"""A class that is closed no longer than this in all that is looked at, as on autumn nights, is meant to be open."""

CLASSES: tuple[ChangeClass, ...] = ("major", "minor", "patch", "emergency")
_MINUTE = timedelta(minutes=1)


class Finding(Struct, frozen=True):
    """One thing to look at. `path` is where it stands in the environment; an error is never what somebody meant."""

    severity: Literal["error", "warning"]
    path: Path
    message: str
    remedy: str


class _Class(Struct, frozen=True):
    """One class with windows: what each of them opens, and the openings that are left of all together."""

    name: ChangeClass
    windows: tuple[Window, ...]
    each: tuple[tuple[Interval, ...], ...]
    openings: tuple[Interval, ...]
    begin: datetime
    end: datetime
    zone: str
    needed: tuple[str, float]


def lint(environment: Environment, expected_s: Mapping[str, float], *, now: datetime) -> list[Finding]:
    """What is odd in the next 400 days (two years for the nights on which clocks change).

    `expected_s`: by what is pinned, in words, how long an upgrade to it may take.
    """
    needed = max(expected_s.items(), key=lambda item: item[1], default=("", 0.0))
    found = []
    for name, schedule in environment.windows.items():
        if not isinstance(schedule, tuple):
            continue
        found += [
            finding
            for i, window in enumerate(schedule)
            for finding in _nights(environment, name, i, window, now)
        ]
        try:
            found += _of_class(_looked_at(environment, name, schedule, needed, now))
        except TooOften as often:
            message = f"these windows are not checked: {often}"
            remedy = "write fewer and longer ones, or `always`"
            found.append(Finding("warning", ("windows", name), message, remedy))
        except Disagreement as doubt:
            message = f"these windows count as closed: {doubt}"
            found.append(Finding("error", ("windows", name), message, "write the cron line more plainly"))
    return found + [finding for name in CLASSES for finding in _frozen_for_good(environment, name, now)]


def _looked_at(
    environment: Environment,
    name: ChangeClass,
    windows: tuple[Window, ...],
    needed: tuple[str, float],
    now: datetime,
) -> _Class:
    begin, end, zone = now.astimezone(UTC), now.astimezone(UTC) + AHEAD, environment.timezone or "UTC"
    return _Class(
        name=name,
        windows=windows,
        each=tuple(tuple(starts(window_source(window, zone), since=begin, until=end)) for window in windows),
        openings=tuple(openings(timetable(environment, name), since=begin, until=end)),
        begin=begin,
        end=end,
        zone=zone,
        needed=needed,
    )


def _of_class(looked: _Class) -> Iterator[Finding]:
    if not looked.openings:
        yield _never(looked)
        return
    yield from _always(looked)
    yield from _overlaps(looked)
    yield from _too_short(looked)
    for index, own in enumerate(looked.each):
        path: Path = ("windows", looked.name, index)
        if not own:
            message = f"this window does not open before {_day(looked.end, looked.zone)}"
            yield Finding("warning", path, message, "correct its cron line, or remove it")
        elif not any(_meetings(own, looked.openings)):
            message = f"no change can start in this window: before {_day(looked.end, looked.zone)} it is always frozen"
            yield Finding("error", path, message, "move the window or the freeze")


def _never(looked: _Class) -> Finding:
    before = _day(looked.end, looked.zone)
    if any(looked.each):
        message = f"{looked.name} changes cannot start before {before}: whenever a window opens, it is frozen"
        return Finding("error", ("windows", looked.name), message, "move the windows or the freezes")
    message = f"no window for {looked.name} changes opens before {before}"
    return Finding("error", ("windows", looked.name), message, "correct the cron lines, or write `manual`")


def _always(looked: _Class) -> Iterator[Finding]:
    """Windows that leave (nearly) nothing closed, freezes apart."""
    united, closed = looked.begin, timedelta()
    for one in sorted((one for own in looked.each for one in own), key=lambda one: one.start):
        closed += max(one.start - united, timedelta())
        united = max(united, one.end)
    closed += max(looked.end - united, timedelta())
    if closed > NEARLY_ALWAYS:
        return
    but = f", but for {lasting(closed.total_seconds())} in {AHEAD.days} days" if closed else ""
    message = f"{looked.name} changes may always start{but}"
    yield Finding("warning", ("windows", looked.name), message, f"write `{looked.name}: always`")


def _overlaps(looked: _Class) -> Iterator[Finding]:
    for (first, ones), (second, others) in combinations(enumerate(looked.each), 2):
        for one, other in islice(_meetings(ones, others), 1):
            day = _day(max(one.start, other.start), looked.zone)
            message = f"this window overlaps window {first + 1} of {looked.name}, first on {day}"
            remedy = "they unite; join them, or move one, if that is not meant"
            yield Finding("warning", ("windows", looked.name, second), message, remedy)


def _too_short(looked: _Class) -> Iterator[Finding]:
    what, needed_s = looked.needed
    needed = timedelta(seconds=needed_s)
    remedy = f"give it a duration of {lasting(needed_s)} or more"
    longest = max(one.end - one.start for one in looked.openings)
    if longest < needed:
        limit = f"no {looked.name} opening is longer than {lasting(longest.total_seconds())}"
        message = f"an upgrade to {what} may take {lasting(needed_s)}, and {limit}"
        yield Finding("error", ("windows", looked.name), message, remedy)
        return
    for index, own in enumerate(looked.each):
        reached = [left.end - left.start for _, left in _meetings(own, looked.openings)]
        if reached and max(reached) < needed:
            message = f"an upgrade to {what} may take {lasting(needed_s)} and never fits in this window"
            yield Finding("warning", ("windows", looked.name, index), message, remedy)


def _nights(
    environment: Environment, name: ChangeClass, index: int, window: Window, now: datetime
) -> Iterator[Finding]:
    """Starts that the clocks skip or show twice. A window that follows elapsed time has neither."""
    schedule, zone = parse(window.cron, window.days), environment.timezone or "UTC"
    if schedule.recurring:
        return
    remedy = "move its start to an hour that every night has once, if that is not meant"
    told = set[bool]()
    for instant, shift in transitions(zone, since=now, until=now + NIGHTS_AHEAD):
        before = (instant - _MINUTE).astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) + _MINUTE
        first, forward = min(before, before + shift), shift > timedelta()
        walls = (first + minute * _MINUTE for minute in range(abs(shift) // _MINUTE))
        wall = next(filter(schedule.matches, walls), None)
        if wall is None or forward in told:
            continue
        told.add(forward)
        opens = f"opens {local_text(instant, zone)}" if forward else "opens once, at the first"
        message = f"the clocks {'skip' if forward else 'repeat'} {wall:%H:%M} on {wall:%Y-%m-%d}: this window {opens}"
        yield Finding("warning", ("windows", name, index), message, remedy)


def _frozen_for_good(environment: Environment, name: ChangeClass, now: datetime) -> Iterator[Finding]:
    """A class without windows that one long freeze, or many, keep closed."""
    _, schedule = schedule_of(environment, name)
    held = frozen(environment, name, now=now)
    if schedule is None and not held.open and (held.until or FOREVER) >= now + AHEAD:
        before = _day(now + AHEAD, environment.timezone or "UTC")
        message = f"{name} changes cannot start before {before}: {held.reason}"
        yield Finding("warning", ("freezes",), message, f"write `{name}: manual` if that is meant")


def _meetings(
    ones: tuple[Interval, ...], others: tuple[Interval, ...]
) -> Iterator[tuple[Interval, Interval]]:
    """Which intervals of two rows overlap, each row in order; an interval that meets any is in some pair."""
    i = j = 0
    while i < len(ones) and j < len(others):
        one, other = ones[i], others[j]
        if one.start < other.end and other.start < one.end:
            yield one, other
        if one.end <= other.end:
            i += 1
        else:
            j += 1


def _day(instant: datetime, zone: str) -> str:
    return f"{instant.astimezone(ZoneInfo(zone)):%Y-%m-%d}"
