"""From the version that runs to the one that is pinned: the shortest way that the releases permit.

A release's `upgrade.from` says which versions may go straight to it. Everyone stops at a `barrier`, and no way
leads out of a `dead_end`. Only the way up is such a graph: the way down is one step.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

from reconciler.model.errors import UgsError
from reconciler.model.range import Range
from reconciler.model.release import Release
from reconciler.model.version import LENGTH_MAX, NO_LABELS, Rank, Version

RANGES_KEPT_MAX = 10_000
PASSED_OVER_MAX = 3

Point = tuple[Rank, bool]
"""A version's place in the order; true for the point just after it."""
Lane = tuple[int, int, int] | None
"""None for every release; the pre-releases of one version share a lane, as only a range that names it has them."""

_LOWEST: Point = ((0, 0, 0, ()), False)
_HIGHEST: Point = ((10**LENGTH_MAX, 0, 0, ()), False)  # no number in a version has so many digits


class NoWay(UgsError):
    """Nothing that the releases permit leads from what runs to what is pinned; the message names what blocks."""


def way(releases: Mapping[Version, Release], start: Version, goal: Version) -> tuple[Release, ...]:
    """The releases of one service to go through from `start` (what runs, not in the answer) to `goal`, the last.

    The fewest steps; of equally short ways the one whose next version is the highest, and so on. None in between
    is withdrawn, and pre-releases are only those of the version whose pre-release is the goal. Raises NoWay.
    """
    aim = releases.get(goal)
    if aim is None:
        raise NoWay(f"there is no release {goal}", "pin a version that was released")
    if goal <= start:
        return (aim,)
    steps: list[Release] = []
    base = start
    for between, stop in _legs(_between(releases, start, goal), aim):
        _check_ends(base, releases.get(base), stop, goal)
        if _admits(stop, base):
            steps.append(stop)
        else:
            leg = _Leg(base, stop, between)
            found = leg.steps()
            if found is None:
                raise _no_way(leg, releases, start, goal)
            steps += found
        base = stop.version
    return tuple(steps)


def _between(releases: Mapping[Version, Release], start: Version, goal: Version) -> list[Release]:
    """What a way from `start` to `goal` may go through, were it not withdrawn or a dead end; in ascending order."""
    lanes = {None, _lane(goal.rank)}
    found = sorted(version for version in releases if start < version < goal and _lane(version.rank) in lanes)
    return [releases[version] for version in found]


def _admits(release: Release, version: Version) -> bool:
    """Whether `version` may go straight to the release."""
    return release.upgrade.from_ is None or Range.parse(release.upgrade.from_).contains(version)


def _legs(between: Sequence[Release], aim: Release) -> Iterator[tuple[list[Release], Release]]:
    """The stops that everyone makes, each with what may lie before it."""
    passed: list[Release] = []
    for release in between:
        if release.upgrade.barrier:
            yield passed, release
            passed = []
        elif release.withdrawn is None and release.upgrade.dead_end is None:
            passed.append(release)
    yield passed, aim


class _Leg:
    """A way up without barriers: position 0 is `base`, then come those that it may go through, then `stop`."""

    def __init__(self, base: Version, stop: Release, between: Sequence[Release]) -> None:
        self.base, self.stop = base, stop
        self.onward = [*between, stop]
        self.versions = [base, *(release.version for release in between)]
        self.points = [(version.rank, False) for version in self.versions]

    def steps(self) -> list[Release] | None:
        """The shortest way, `stop` included; None when there is none."""
        following = self.leading(enough=0)
        if 0 not in following:
            return None
        steps, position = [], 0
        while position < len(self.onward):
            position = following[position]
            steps.append(self.onward[position - 1])
        return steps

    def leading(self, *, enough: int | None = None) -> dict[int, int]:
        """The position that comes next, for every one from which `stop` can be reached, or until `enough` is found.

        A search back from the stop. Those found are taken out at once, so each is looked at once.
        """
        left: dict[Lane, list[int]] = defaultdict(list)
        for position, version in enumerate(self.versions):
            left[_lane(version.rank)].append(position)
        following: dict[int, int] = {}
        frontier = [len(self.onward)]
        while frontier and enough not in following:
            found: list[int] = []
            for position in frontier:
                for positions, low, high in self._before(position, left):
                    following.update(dict.fromkeys(positions[low:high], position))
                    found += positions[low:high]
                    del positions[low:high]
            # The highest first: it claims what may go on to several.
            frontier = sorted(found, reverse=True)
        return following

    def reached(self) -> list[int]:
        """The positions that can be reached from `base`, ascending, itself included."""
        reached: dict[Lane, list[int]] = defaultdict(list, {_lane(self.base.rank): [0]})
        for position, version in enumerate(self.versions[1:], start=1):
            if any(low < high for _, low, high in self._before(position, reached)):
                reached[_lane(version.rank)].append(position)
        return sorted(position for positions in reached.values() for position in positions)

    def _before(self, position: int, lanes: dict[Lane, list[int]]) -> Iterator[tuple[list[int], int, int]]:
        """Those in `lanes` (ascending positions) that may go straight to `position`: lists, each with a slice."""
        for span in _spans(self.onward[position - 1].upgrade.from_):
            first = bisect_left(self.points, span.low)
            last = min(bisect_left(self.points, span.high), position)
            for lane in lanes if span.lanes is None else span.lanes & lanes.keys():
                yield lanes[lane], bisect_left(lanes[lane], first), bisect_left(lanes[lane], last)


class _Span(Struct, frozen=True):
    """From `low` up to, not including, `high`; of the lanes given, or of all when None."""

    low: Point = _LOWEST
    high: Point = _HIGHEST
    lanes: frozenset[Lane] | None = None


@lru_cache(RANGES_KEPT_MAX)
def _spans(text: str | None) -> tuple[_Span, ...]:
    """The stretches of versions that make up a range; without a range, every version."""
    if text is None:
        return (_Span(),)
    spans = []
    for comparators in Range.parse(text).alternatives:
        low, high = _LOWEST, _HIGHEST
        lanes: set[Lane] = {None}
        for comparator in comparators:
            at, after = (comparator.rank, False), (comparator.rank, True)
            if comparator.operator in (">=", ">", "="):
                low = max(low, after if comparator.operator == ">" else at)
            if comparator.operator in ("<=", "<", "="):
                high = min(high, at if comparator.operator == "<" else after)
            lanes.add(_lane(comparator.rank))
        spans.append(_Span(low, high, frozenset(lanes)))
    return tuple(spans)


def _lane(rank: Rank) -> Lane:
    return None if rank[3] == NO_LABELS else rank[:3]


def _check_ends(base: Version, known: Release | None, stop: Release, goal: Version) -> None:
    """Raise NoWay when nothing leads out of `base`, or the stop is one at which nobody should be."""
    if known is not None and known.upgrade.dead_end is not None:
        raise NoWay(
            f"nothing leads on from {base} to {goal}: it is a dead end ({known.upgrade.dead_end})",
            f"go back first (`allow_downgrade: true`), or remove `upgrade.dead_end` from {known.place.file}",
        )
    if stop.version != goal and stop.withdrawn is not None:
        raise NoWay(
            f"on the way from {base} to {goal} everyone stops at {stop.version}, which is withdrawn "
            f"({stop.withdrawn.reason})",
            f"publish another barrier, and remove `upgrade.barrier` from {stop.place.file}",
        )


def _no_way(leg: _Leg, releases: Mapping[Version, Release], start: Version, goal: Version) -> NoWay:
    """Why a leg has no way, with the releases that come nearest from both sides."""
    base, stop = leg.base, leg.stop.version
    reached, leading = leg.versions[leg.reached()[-1]], leg.leading()
    detour = f"on the way to {goal} everyone stops at {stop}; " if stop != goal else ""
    before = f"{base} runs" if base == start else f"everyone stops at {base} before it"
    ahead = f"the nearest that {base} can reach is {reached}" if reached != base else f"{base} reaches none"
    behind = (
        f"the nearest that can reach {stop} is {leg.versions[min(leading)]}"
        if leading
        else f"none can reach {stop}"
    )
    return NoWay(
        f"{detour}{stop} may be reached only from {leg.stop.upgrade.from_}, and {before}; "
        f"nothing between them leads there: {ahead}, {behind}{_passed_over(leg, releases)}",
        f"publish a release that leads on from {reached}, or widen `upgrade.from` in {leg.stop.place.file}",
    )


def _passed_over(leg: _Leg, releases: Mapping[Version, Release]) -> str:
    """Those that the stop would admit, and that nobody is led through."""
    allowed, known = Range.parse(leg.stop.upgrade.from_ or ""), set(leg.versions)
    barred = sorted(
        version
        for version in releases.keys() - known
        if leg.base < version < leg.stop.version and allowed.contains(version)
    )
    told = [f"{version} {_why_barred(releases[version])}" for version in barred[:PASSED_OVER_MAX]]
    return f" ({', '.join(told)})" if told else ""


def _why_barred(release: Release) -> str:
    if release.withdrawn is not None:
        return "is withdrawn"
    return "is a dead end" if release.upgrade.dead_end is not None else "is a pre-release"
