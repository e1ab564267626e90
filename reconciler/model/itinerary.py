"""The way of one change through intermediate releases, and when the calendar lets each step start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from reconciler.model.availability import fits
from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.expectation import expected_s
from reconciler.model.plan import Change
from reconciler.model.release import Release
from reconciler.model.version import Version, step_between
from reconciler.model.window import frozen, opening

CALENDAR_GATES = frozenset({"window", "freeze", "fit"})
"""Gates that the calendar alone opens."""
TURNS_MAX = 200


class Step(Struct, frozen=True):
    """One upgrade on the way. `starts_at`: None where the calendar does not say; `expected_s` in seconds."""

    release: Release
    change_class: ChangeClass
    starts_at: datetime | None
    expected_s: float

    @property
    def ends_at(self) -> datetime | None:
        return self.starts_at + timedelta(seconds=self.expected_s) if self.starts_at else None


def itinerary(
    change: Change, known: Mapping[Version, Release], places: Sequence[Environment], *, now: datetime | None
) -> tuple[Step, ...]:
    """The steps of a change, `known` being its service's releases; none for a removal, nor where no way leads there.

    Each is as early as all `places` let it start, the first one from `now` on (None: nobody knows when), every other
    when the one before it has taken its time.
    """
    if change.goal is None:
        return ()
    steps: list[Step] = []
    base, at = change.running.version if change.running else None, now
    for text in change.path:
        version = Version(text)
        release = change.goal.release if version == change.goal.target.version else known[version]
        longest_s = expected_s((), release)
        kind = _class(base, release, places[0]) if steps else change.change_class
        start = first_open(places, kind, longest_s, now=at) if at else None
        steps.append(Step(release, kind, start, longest_s))
        base, at = version, steps[-1].ends_at
    return tuple(steps)


def first_open(
    places: Sequence[Environment], change_class: ChangeClass, needed_s: float, *, now: datetime
) -> datetime | None:
    """The first instant from `now` on at which all `places` let a change of this class start that takes so long.

    None where there is none in reach.
    """
    at = now
    for _ in range(TURNS_MAX):
        states = [look(place, change_class, now=at) for place in places for look in (opening, frozen)]
        states += [fits(place, change_class, needed_s, now=at) for place in places]
        waits = [state.until for state in states if not state.open]
        if not waits:
            return at
        known = [until for until in waits if until is not None]
        if len(known) < len(waits):
            return None
        at = max(known)
    return None


def _class(base: Version | None, release: Release, place: Environment) -> ChangeClass:
    if base is None or release.upgrade.urgency == "emergency":
        return "emergency"
    return step_between(base, release.version, zero_minor=place.policy.zero_minor)
