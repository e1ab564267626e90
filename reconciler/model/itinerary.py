"""The way of one change through intermediate releases, and when its gates let each step start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.availability import availability
from reconciler.model.circumstances import Circumstances
from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.expectation import expected_s
from reconciler.model.gates import CALENDAR, Judge, closed, evaluate
from reconciler.model.plan import Change
from reconciler.model.release import Release
from reconciler.model.version import Version, step_between

TURNS_MAX = 200


class Step(Struct, frozen=True):
    """One upgrade on the way. `starts_at`: None where it is not known, and `unknown` says why."""

    release: Release
    change_class: ChangeClass
    starts_at: datetime | None
    unknown: str
    expected_s: float
    opens_at: datetime | None
    """Of the opening in which it starts; None for a class that is always open, and where none is known."""
    closes_at: datetime | None

    @property
    def ends_at(self) -> datetime | None:
        return self.starts_at + timedelta(seconds=self.expected_s) if self.starts_at else None


def itinerary(
    change: Change,
    known: Mapping[Version, Release],
    around: Circumstances,
    *,
    now: datetime | None,
    first: Sequence[Judge] = CALENDAR,
    past_s: Sequence[float] = (),
) -> tuple[Step, ...]:
    """The steps of a change, `known` being its service's releases; none for a removal, nor where no way leads there.

    The first is as early as the gates `first` let it start, from `now` on (None: nobody knows when). Every other
    waits for the calendar alone, once the one before it has taken its time. `past_s`: what past upgrades took.
    """
    if change.goal is None:
        return ()
    steps: list[Step] = []
    base, at, unknown = change.running.version if change.running else None, now, "something else comes first"
    for text in change.path:
        version = Version(text)
        release = change.goal.release if version == change.goal.target.version else known[version]
        longest_s = expected_s(past_s, release)
        kind = _class(base, release, around.environment) if steps else change.change_class
        step = replace(change, change_class=kind)
        start: datetime | None = None
        if at is not None:
            timed = replace(around, expected_s={change.service: longest_s})
            start, unknown = first_start(step, timed, CALENDAR if steps else first, now=at)
        hours = availability(around.environment, kind, now=start) if start else None
        opens_at, closes_at = (hours.opens_at, hours.closes_at) if hours else (None, None)
        steps.append(Step(release, kind, start, unknown, longest_s, opens_at, closes_at))
        base, at, unknown = version, steps[-1].ends_at, f"it comes after {version}"
    return tuple(steps)


def first_start(
    change: Change, around: Circumstances, judges: Sequence[Judge], *, now: datetime
) -> tuple[datetime | None, str]:
    """The first instant from `now` on at which these gates let a change start; None, and why, where none is known."""
    at = now
    for _ in range(TURNS_MAX):
        gates = closed(evaluate(change, around, now=at, judges=judges))
        # Later, fetches will have gone on: that the last one is too old is only said of this moment.
        waits = [gate for gate in gates if at == now or gate.gate != "stale"]
        if not waits:
            return at, ""
        if never := [gate.reason for gate in waits if gate.until is None]:
            return None, "; ".join(never)
        at = max(gate.until for gate in waits if gate.until is not None)
    return None, "no opening is near"


def _class(base: Version | None, release: Release, place: Environment) -> ChangeClass:
    if base is None or release.upgrade.urgency == "emergency":
        return "emergency"
    return step_between(base, release.version, zero_minor=place.policy.zero_minor)
