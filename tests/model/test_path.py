"""The way from what runs to what is pinned: short, permitted at every step, and told where there is none."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.path import NoWay, way
from reconciler.model.range import Range
from reconciler.model.release import Release, Upgrading, Withdrawn
from reconciler.model.version import Version
from tests.build import release
from tests.model.test_range import TABLE

Releases = dict[Version, Release]


def one(version: str, from_: str | None = None, *, withdrawn: str = "", **upgrade: Any) -> Release:
    return release(
        version,
        upgrade=Upgrading(from_=from_, **upgrade),
        withdrawn=Withdrawn(withdrawn, "2026-11-02") if withdrawn else None,
    )


def some(*releases: Release) -> Releases:
    return {release.version: release for release in releases}


def told(releases: Releases, start: str, goal: str) -> str:
    """The versions that the way goes through, or why there is none."""
    try:
        found = way(releases, Version(start), Version(goal))
    except NoWay as error:
        return str(error)
    return " ".join(release.version.text for release in found)


def test_without_a_range_any_lower_version_goes_straight_there() -> None:
    assert told(some(one("1.0.0"), one("1.5.0"), one("2.0.0")), "1.0.0", "2.0.0") == "2.0.0"


def test_a_goal_out_of_reach_is_reached_through_the_highest_release_that_leads_there() -> None:
    releases = some(one("1.3.0"), one("1.5.0"), one("1.6.0"), one("2.0.0", ">=1.5.0"))
    assert told(releases, "1.3.0", "2.0.0") == "1.6.0 2.0.0"
    assert told(releases, "1.5.0", "2.0.0") == "2.0.0"


def test_of_two_short_ways_the_one_that_climbs_at_once_is_taken() -> None:
    releases = some(
        one("1.1.0"), one("1.2.0"), one("1.8.0", "1.1.0"), one("1.9.0", "1.2.0"), one("2.0.0", ">=1.8.0")
    )
    assert told(releases, "1.0.0", "2.0.0") == "1.2.0 1.9.0 2.0.0"


def test_fewer_steps_count_for_more_than_higher_versions() -> None:
    releases = some(one("1.2.0"), one("1.4.0"), one("1.9.0", "1.4.0"), one("2.0.0", "1.2.0 || 1.9.0"))
    assert told(releases, "1.0.0", "2.0.0") == "1.2.0 2.0.0"


def test_a_way_down_or_to_the_same_version_is_one_step_whatever_the_releases_say() -> None:
    releases = some(one("1.0.0", "0.9.0"), one("1.5.0", barrier=True), one("2.0.0", dead_end="the end"))
    assert told(releases, "2.0.0", "1.0.0") == "1.0.0"
    assert told(releases, "2.0.0", "2.0.0") == "2.0.0"


def test_a_way_up_never_goes_down_in_between() -> None:
    releases = some(one("1.1.0", "1.2.0"), one("1.2.0"), one("2.0.0", "1.1.0"))
    assert "the nearest that can reach 2.0.0 is 1.1.0" in told(releases, "1.0.0", "2.0.0")


def test_a_version_whose_release_is_gone_is_still_a_place_to_start_from() -> None:
    assert told(some(one("2.0.0", ">=1.0.0")), "1.0.0", "2.0.0") == "2.0.0"


def test_everyone_stops_at_a_barrier() -> None:
    releases = some(one("1.4.0", barrier=True), one("1.6.0", barrier=True), one("2.0.0"))
    assert told(releases, "1.0.0", "2.0.0") == "1.4.0 1.6.0 2.0.0"
    assert told(releases, "1.4.0", "2.0.0") == "1.6.0 2.0.0"
    assert told(releases, "1.0.0", "1.4.0") == "1.4.0"


def test_a_dead_end_may_be_a_goal_and_nothing_else() -> None:
    releases = some(one("1.5.0", dead_end="use shop instead"), one("2.0.0", ">=1.2.0"), one("1.2.0"))
    assert told(releases, "1.0.0", "1.5.0") == "1.5.0"
    assert told(releases, "1.0.0", "2.0.0") == "1.2.0 2.0.0"
    assert told(releases, "1.5.0", "2.0.0") == (
        "nothing leads on from 1.5.0 to 2.0.0: it is a dead end (use shop instead); go back first "
        "(`allow_downgrade: true`), or remove `upgrade.dead_end` from releases/api/1.5.0.yaml"
    )


def test_a_withdrawn_release_is_passed_over_unless_it_is_what_is_pinned() -> None:
    releases = some(one("1.5.0"), one("1.6.0", withdrawn="loses orders"), one("2.0.0", ">=1.5.0"))
    assert told(releases, "1.0.0", "2.0.0") == "1.5.0 2.0.0"
    assert told(releases, "1.0.0", "1.6.0") == "1.6.0"


def test_pre_releases_lead_only_to_a_pre_release_of_their_own_version() -> None:
    releases = some(
        one("1.9.0-rc.1"),
        one("2.0.0-rc.1", ">=1.0.0"),
        one("2.0.0-rc.2", ">=2.0.0-rc.1"),
        one("2.0.0", ">=2.0.0-rc.1"),
    )
    assert told(releases, "1.0.0", "2.0.0-rc.2") == "2.0.0-rc.1 2.0.0-rc.2"
    assert told(releases, "2.0.0-rc.2", "2.0.0") == "2.0.0"
    assert "(2.0.0-rc.1 is a pre-release, 2.0.0-rc.2 is a pre-release)" in told(releases, "1.0.0", "2.0.0")


def test_a_range_that_names_no_pre_release_admits_none_and_no_range_admits_all() -> None:
    releases = some(one("2.0.0", ">=1.0.0"), one("2.1.0"))
    assert "2.0.0 may be reached only from >=1.0.0" in told(releases, "2.0.0-rc.1", "2.0.0")
    assert told(releases, "2.0.0-rc.1", "2.1.0") == "2.1.0"


def test_a_pre_release_that_is_a_barrier_stops_only_those_who_may_be_led_through_it() -> None:
    releases = some(one("2.0.0-rc.1", barrier=True), one("2.0.0-rc.2"), one("2.0.0"))
    assert told(releases, "1.0.0", "2.0.0-rc.2") == "2.0.0-rc.1 2.0.0-rc.2"
    assert told(releases, "1.0.0", "2.0.0") == "2.0.0"


@pytest.mark.parametrize(
    ("releases", "goal", "message"),
    [
        pytest.param(
            some(
                one("1.4.2", ">=1.3.0"), one("1.5.0", "1.4.5"), one("1.6.0", "1.5.0"), one("2.0.0", ">=1.5.0")
            ),
            "2.0.0",
            "2.0.0 may be reached only from >=1.5.0, and 1.3.0 runs; nothing between them leads there: "
            "the nearest that 1.3.0 can reach is 1.4.2, the nearest that can reach 2.0.0 is 1.5.0; publish a "
            "release that leads on from 1.4.2, or widen `upgrade.from` in releases/api/2.0.0.yaml",
            id="a gap in the middle",
        ),
        pytest.param(
            some(
                one("1.5.0", withdrawn="loses orders"),
                one("1.6.0", dead_end="broken"),
                one("2.0.0", "1.x >1.4"),
            ),
            "2.0.0",
            "2.0.0 may be reached only from 1.x >1.4, and 1.3.0 runs; nothing between them leads there: 1.3.0 "
            "reaches none, none can reach 2.0.0 (1.5.0 is withdrawn, 1.6.0 is a dead end); publish a release "
            "that leads on from 1.3.0, or widen `upgrade.from` in releases/api/2.0.0.yaml",
            id="only releases that nobody is led through",
        ),
        pytest.param(
            some(one("1.5.0", "1.4.0", barrier=True), one("2.0.0")),
            "2.0.0",
            "on the way to 2.0.0 everyone stops at 1.5.0; 1.5.0 may be reached only from 1.4.0, and 1.3.0 runs; "
            "nothing between them leads there: 1.3.0 reaches none, none can reach 1.5.0; publish a release that "
            "leads on from 1.3.0, or widen `upgrade.from` in releases/api/1.5.0.yaml",
            id="a barrier out of reach",
        ),
        pytest.param(
            some(one("1.5.0", barrier=True), one("2.0.0", "1.3.0")),
            "2.0.0",
            "2.0.0 may be reached only from 1.3.0, and everyone stops at 1.5.0 before it; nothing between them "
            "leads there: 1.5.0 reaches none, none can reach 2.0.0; publish a release that leads on from 1.5.0, "
            "or widen `upgrade.from` in releases/api/2.0.0.yaml",
            id="a barrier in between",
        ),
        pytest.param(
            some(one("1.5.0", barrier=True, withdrawn="loses orders"), one("2.0.0")),
            "2.0.0",
            "on the way from 1.3.0 to 2.0.0 everyone stops at 1.5.0, which is withdrawn (loses orders); publish "
            "another barrier, and remove `upgrade.barrier` from releases/api/1.5.0.yaml",
            id="a barrier that is withdrawn",
        ),
        pytest.param(
            some(one("1.5.0", barrier=True, dead_end="broken"), one("2.0.0")),
            "2.0.0",
            "nothing leads on from 1.5.0 to 2.0.0: it is a dead end (broken); go back first (`allow_downgrade: "
            "true`), or remove `upgrade.dead_end` from releases/api/1.5.0.yaml",
            id="a barrier that is a dead end",
        ),
        pytest.param(
            some(one("2.0.0")),
            "2.0.1",
            "there is no release 2.0.1; pin a version that was released",
            id="a goal that was never released",
        ),
    ],
)
def test_where_there_is_no_way_the_message_says_what_blocks(
    releases: Releases, goal: str, message: str
) -> None:
    assert told(releases, "1.3.0", goal) == message


@pytest.mark.parametrize(("text", "inside", "outside"), TABLE)
def test_a_range_admits_to_a_way_what_it_holds(text: str, inside: str, outside: str) -> None:
    releases = some(one("999.0.0", text))
    for version in inside.split():
        assert told(releases, version, "999.0.0") == "999.0.0"
    for version in outside.split():
        assert "999.0.0 may be reached only from" in told(releases, version, "999.0.0")


# Against an oracle that tries every way there is

POOL = ("1.0.0", "1.1.0-rc.1", "1.1.0-rc.2", "1.1.0", "1.1.0+b", "1.2.0", "2.0.0-a.10", "2.0.0-a.9", "2.0.0")
RANGES = st.one_of(
    st.none(),
    st.sampled_from(
        ["*", "<2", "1.1.x || 2.0.0-a.9", "~1.1.0-rc.1", "^1.1.0", ">=1.1.0-rc.2", "1.0.0 - 1.1.0"]
    ),
    st.builds(str.__add__, st.sampled_from(["", "", ">=", ">", "<=", "~"]), st.sampled_from(POOL)),
)
RELEASES = st.builds(
    lambda versions, kinds: some(
        *(one(version, **kind) for version, kind in zip(versions, kinds, strict=False))
    ),
    st.permutations(POOL),
    st.lists(
        st.fixed_dictionaries(
            {
                "from_": RANGES,
                "withdrawn": st.sampled_from(["", "", "", "bad"]),
                "barrier": st.sampled_from([False, False, False, False, True]),
                "dead_end": st.sampled_from([None, None, None, "old"]),
            }
        ),
        min_size=len(POOL) - 3,
        max_size=len(POOL),
    ),
)


def permitted(steps: list[Release], releases: Releases, start: Version) -> bool:
    """Whether the steps are a way by the words of the format, one rule after the other."""
    goal = steps[-1].version
    versions = [start, *(step.version for step in steps)]
    same = goal.parts.finalize_version()
    fit = [goal.parts.prerelease is not None and v.parts.finalize_version() == same for v in releases]
    usable = {v for v, is_fit in zip(releases, fit, strict=True) if is_fit or v.parts.prerelease is None}
    barriers = {v for v in usable if releases[v].upgrade.barrier and start < v < goal}
    return (
        all(before < after for before, after in pairwise(versions))
        and all(
            step.upgrade.from_ is None or Range.parse(step.upgrade.from_).contains(before)
            for before, step in zip(versions, steps, strict=False)
        )
        and all(not (v in releases and releases[v].upgrade.dead_end) for v in versions[:-1])
        and all(step.withdrawn is None and step.version in usable for step in steps[:-1])
        and barriers <= set(versions)
    )


def best(releases: Releases, start: Version, goal: Version) -> list[Version] | None:
    between = sorted(version for version in releases if start < version < goal)
    for count in range(len(between) + 1):
        ways = [
            [*chosen, goal]
            for chosen in combinations(between, count)
            if permitted([releases[v] for v in (*chosen, goal)], releases, start)
        ]
        if ways:
            return max(ways)
    return None


@settings(max_examples=200)
@given(RELEASES, st.sampled_from(POOL[:4]).map(Version), st.data())
def test_the_way_is_the_one_that_trying_every_way_finds(
    releases: Releases, start: Version, data: st.DataObject
) -> None:
    goal = data.draw(st.sampled_from(sorted(releases)[-3:]))
    expected = [goal] if goal <= start else best(releases, start, goal)
    if expected is None:
        with pytest.raises(NoWay):
            way(releases, start, goal)
    else:
        assert [release.version for release in way(releases, start, goal)] == expected


def test_a_thousand_releases_that_each_lead_only_to_the_next_are_gone_through() -> None:
    releases = some(one("1.0.0"), *(one(f"1.{n}.0", f"1.{n - 1}.0") for n in range(1, 1000)))
    found = way(releases, Version("1.0.0"), Version("1.999.0"))
    assert [release.version.parts.minor for release in found] == list(range(1, 1000))
