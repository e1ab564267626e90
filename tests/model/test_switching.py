"""When a live flag may be switched, and how that is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.model.environment import Environment, Policy, Window
from reconciler.model.permits import Permits
from reconciler.model.release import Flag
from reconciler.model.snapshot import Snapshot
from reconciler.model.standing import Standing
from reconciler.model.switching import Rules, closed_for, described, rules_at, text_of
from reconciler.model.target import frozen_digest
from reconciler.model.thawed import thawed
from tests.build import environment, release
from tests.model.test_evaluation import flag

TUESDAY = datetime(2030, 1, 1, 12, tzinfo=UTC)
SATURDAY = datetime(2030, 1, 5, 3, 1, tzinfo=UTC)
ON = {"style": Standing("style", ("api",), "plain", value="fancy")}


def place(flags: Any = "window", cron: str = "0 3 * * 6") -> Environment:
    windows: Any = {"config": (Window(cron, 7200.0),)}
    return environment(timezone="UTC", windows=windows, policy=Policy(flags=flags))


def after(*pushes: tuple[str, Environment, dict[str, Standing]]) -> Rules:
    """What is known after these pushes, each with its commit, what it left, and the flags that are to be switched."""
    known = None
    for revision, left, moved in pushes:
        known = rules_at(revision, left, moved, known)
        assert rules_at(revision, left, moved, known) == known  # however often it is looked at
    assert known is not None
    return known


def waits(rules: Rules, now: datetime = TUESDAY) -> list[str]:
    return [gate.gate for gate in closed_for(rules, "style", Permits(), now=now)]


def test_it_waits_for_a_window_where_the_policy_says_so() -> None:
    assert waits(after(("a", place(), {}), ("b", place(), ON))) == ["window"]
    assert waits(after(("a", place(), {}), ("b", place(), ON)), SATURDAY) == []
    assert waits(after(("a", place("always"), {}), ("b", place("always"), ON))) == []


def test_a_push_that_opens_the_gate_does_not_walk_through_it_however_many_follow() -> None:
    opened = place("always")
    pushes = [("a", place(), {}), ("b", opened, ON)]
    assert waits(after(*pushes)) == ["window"]
    assert waits(after(*pushes, ("c", opened, ON))) == ["window"]
    assert waits(after(*pushes, ("c", opened, ON)), SATURDAY) == []


def test_a_later_push_opens_the_gate_for_what_waits() -> None:
    assert waits(after(("a", place(), {}), ("b", place(), ON), ("c", place("always"), ON))) == []


def test_a_gate_that_a_later_push_closes_is_closed() -> None:
    assert waits(after(("a", place(), ON), ("b", place(cron="0 3 * * 0"), ON)), SATURDAY) == ["window"]


def test_another_switch_of_the_same_flag_came_with_its_own_push() -> None:
    other = {"style": Standing("style", ("api",), "plain", value="other")}
    opened = place("always")
    assert waits(after(("a", place(), {}), ("b", opened, ON), ("c", opened, other))) == []


def test_a_new_environment_has_nothing_before_it() -> None:
    assert waits(after(("a", place("always"), ON))) == []


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("fancy", '"fancy"'),
        ("{rules: [{value: fancy, percent: 12.5}]}", '"plain", and "fancy" for 12.5 %'),
        ("{rules: [{value: fancy}]}", '"plain", and "fancy" for all'),
        ("{rules: [{when: {x: 1}, value: fancy}]}", '"plain", and otherwise by 1 rule'),
        ("{rules: [{when: {x: 1}, value: a}, {value: b, percent: 1}]}", '"plain", and otherwise by 2 rules'),
    ],
)
def test_what_people_get_is_told_in_a_few_words(setting: str, said: str) -> None:
    assert described(flag(setting)) == said


def test_a_long_value_is_cut() -> None:
    assert len(text_of("x" * 200)) == 61


def test_whether_a_flag_is_live_freezes_with_its_release() -> None:
    kept = release("1.0.0", flags={"a": Flag(False)})
    live = replace(kept, flags={"a": Flag(False, live=True)})
    # Computed by the version of UGS before there were live ones: an upgrade of UGS redeploys nothing.
    assert frozen_digest(kept).startswith("c407d8eafaef")
    assert frozen_digest(live) != frozen_digest(kept)
    there = Snapshot("r", {("api", "1.0.0"): live}, {}, {}, (), frozenset(), frozenset())
    [problem] = thawed(there, {("api", "1.0.0"): kept})
    assert "is frozen" in problem.message
