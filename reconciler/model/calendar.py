"""The openings of a class in order: its windows united, and the freezes that hold it subtracted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from reconciler.model.codec import encode
from reconciler.model.environment import ChangeClass, Environment, Freeze, Schedule
from reconciler.model.window import (
    FOREVER,
    UNION_STEPS_MAX,
    Interval,
    Source,
    freeze_source,
    schedule_of,
    window_source,
)

STEPS_MAX = 20_000
ENDLESS = timedelta(days=32)
"""What stays open so long past the time that is asked for counts as never closing."""

_INSTANT = timedelta(microseconds=1)
_ALWAYS = Source(lambda _now: Interval(datetime.min.replace(tzinfo=UTC), FOREVER), lambda _now: None)


class TooOften(Exception):
    """There are more starts than are followed.

    `begun`: the opening that was under way, None where it was closed; `at`: how far it was followed.
    """

    def __init__(self, begun: datetime | None, at: datetime) -> None:
        super().__init__(f"there are too many starts to follow them beyond {at:%Y-%m-%d}")
        self.begun = begun
        self.at = at


class Timetable(Struct, frozen=True):
    """All that decides when one class may start."""

    schedule: Schedule
    freezes: tuple[Freeze, ...]
    zone: str


class Event(Struct, frozen=True):
    """One entry of a calendar; start and end in UTC. The same opening always has the same `uid`."""

    uid: str
    start: datetime
    end: datetime
    summary: str
    description: str


def timetable(environment: Environment, change_class: ChangeClass) -> Timetable:
    _, schedule = schedule_of(environment, change_class)
    applying = tuple(freeze for freeze in environment.freezes if change_class not in freeze.except_)
    return Timetable(schedule, applying, environment.timezone or "UTC")


def openings(
    table: Timetable, *, since: datetime, until: datetime, steps_max: int = STEPS_MAX
) -> Iterator[Interval]:
    """Every opening that contains `since` or starts between it and `until`, in order, none touching the next.

    One without an end has FOREVER; the first of an always open class begins at `since`. `manual` has none.
    Raises TooOften and Disagreement.
    """
    if table.schedule == "manual":
        return
    sources = [window_source(window, table.zone) for window in table.schedule or ()]
    windows = [_Cursor(source) for source in (sources if table.schedule is not None else [_ALWAYS])]
    freezes = [_Cursor(freeze_source(freeze, table.zone)) for freeze in table.freezes]
    since = since.astimezone(UTC)
    at, begun = _began(sources, since), None
    for _ in range(steps_max):
        frozen_to = max((freeze.end(at) for freeze in freezes), default=at)
        open_to = max((window.end(at) for window in windows), default=at) if frozen_to == at else at
        if open_to > at:
            begun, at = begun or at, min([open_to, *(freeze.coming(at) for freeze in freezes)])
            if at >= until + ENDLESS:
                yield Interval(begun, FOREVER)
                return
            continue
        if begun is not None and at > since:
            yield Interval(begun, at)
        begun = None
        at = frozen_to if frozen_to > at else min((w.coming(at) for w in windows), default=FOREVER)
        if at >= until:
            return
    raise TooOften(begun, at)


def starts(source: Source, *, since: datetime, until: datetime) -> Iterator[Interval]:
    """Every single interval that contains `since` or starts between it and `until`. Raises as `openings` does."""
    found = source.at(since) or source.after(since)
    for _ in range(STEPS_MAX):
        if found is None or found.start >= until:
            return
        yield found
        found = source.after(found.start)
    raise TooOften(None, since if found is None else found.start)


def events(environment: Environment, *, since: datetime, until: datetime) -> tuple[Event, ...]:
    """The openings of every class that has windows of its own, and the freezes, in order.

    What has no end is told to end at `until`. Raises TooOften and Disagreement.
    """
    found = {event.uid: event for event in _freeze_events(environment, since, until)}
    for name, schedule in environment.windows.items():
        if not isinstance(schedule, tuple):
            continue
        for one in openings(timetable(environment, name), since=since, until=until):
            uid = f"{environment.name}-{name}-{one.start:%Y%m%dT%H%M%SZ}@ugs"
            end = until if one.end == FOREVER else one.end
            text = f"{name} changes of {environment.name} may start."
            found[uid] = Event(uid, one.start, end, f"{environment.name}: {name} window", text)
    return tuple(sorted(found.values(), key=lambda event: (event.start, event.uid)))


def _freeze_events(environment: Environment, since: datetime, until: datetime) -> Iterator[Event]:
    for freeze in environment.freezes:
        spared = f", except {', '.join(freeze.except_)}" if freeze.except_ else ""
        which = hashlib.sha256(encode((freeze.reason, freeze.except_))).hexdigest()[:8]
        source = freeze_source(freeze, environment.timezone or "UTC")
        for one in starts(source, since=since, until=until):
            uid = f"{environment.name}-freeze-{which}-{one.start:%Y%m%dT%H%M%SZ}@ugs"
            summary = f"{environment.name}: freeze, {freeze.reason}"
            text = f"Nothing starts in {environment.name}{spared}: {freeze.reason}"
            yield Event(uid, one.start, one.end, summary, text)


class _Cursor:
    """A source that is asked at ever later instants, and computes each of its intervals once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._known_to: datetime | None = None
        self._here: Interval | None = None
        self._coming: Interval | None = None

    def end(self, at: datetime) -> datetime:
        """Where the interval that contains `at` ends; `at` itself where none does."""
        self._seek(at)
        return self._here.end if self._here and self._here.end > at else at

    def coming(self, at: datetime) -> datetime:
        """When the next one starts after `at`; FOREVER where none does."""
        self._seek(at)
        return self._coming.start if self._coming else FOREVER

    def _seek(self, at: datetime) -> None:
        if self._known_to is not None and at < self._known_to:
            return
        arrived = self._coming is not None and self._coming.start == at
        self._here = self._coming if arrived else self._source.at(at)
        self._coming = self._source.after(at)
        self._known_to = self._coming.start if self._coming else FOREVER


def _began(sources: list[Source], instant: datetime) -> datetime:
    """When the union of intervals that contains `instant` began, at most so many steps back; else `instant`."""
    begun, asked = instant, instant
    for _ in range(UNION_STEPS_MAX):
        found = [interval.start for source in sources if (interval := source.at(asked))]
        if not found:
            break
        begun = min(begun, *found)
        asked = begun - _INSTANT  # what ends where this one starts belongs to it
    return begun
