"""Approvals: how many people must have approved what exactly, and who of them counts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.model.approvals import approval_gate, approvals_needed
from reconciler.model.environment import ChangeClass, Environment, Policy
from reconciler.model.permits import (
    Approval,
    Ask,
    Permits,
    approval_class,
    ask_of,
    covers,
    step_class,
)
from reconciler.model.persons import same_person, wrote
from reconciler.model.release import Upgrading
from reconciler.model.window import Opening
from tests.build import NOW, REVISION, change, environment, release, work

HOUR = timedelta(hours=1)
TWO = environment(policy=Policy(approvals={"major": 2}))
ASK = Ask("production", "api", "1.0.0@000000000000", "2.0.0@222222222222", ("2.0.0",), REVISION)


def approval(by: str = "ada", ask: Ask = ASK, **fields: Any) -> Approval:
    return Approval(id=1, ask=ask, by=by, **{"at": NOW, "until": NOW + HOUR} | fields)


def asked(
    approvals: tuple[Approval, ...],
    *,
    at: Environment = TWO,
    ask: Ask = ASK,
    change_class: ChangeClass = "major",
    floor: dict[ChangeClass, int] | None = None,
    authors: frozenset[str] | None = None,
    now: datetime = NOW,
) -> Opening:
    permits = Permits(approvals=approvals)
    return approval_gate(permits, at, ask, change_class, floor=floor or {}, authors=authors, now=now)


def test_nothing_is_needed_where_nothing_is_asked_for() -> None:
    assert asked((), change_class="minor") == Opening(True, "minor changes need no approval", None, "")


@pytest.mark.parametrize(
    ("approvals", "reason"),
    [
        ((), "needs 2 approvals, has none"),
        ((approval("ada"),), "needs 2 approvals, has 1 (ada)"),
        ((approval("ada"), approval("ada"), approval(" Ada ")), "needs 2 approvals, has 1 (ada)"),
        (
            (approval("ada"), approval("bob", until=NOW)),
            "needs 2 approvals, has 1 (ada); not counted: bob (expired)",
        ),
        ((approval("ada", until=NOW), approval("ada")), "needs 2 approvals, has 1 (ada)"),
    ],
)
def test_it_waits_for_as_many_people_as_are_needed(approvals: tuple[Approval, ...], reason: str) -> None:
    gate = asked(approvals)
    assert gate == Opening(False, reason, None, "ugs approve production api")


def test_enough_people_open_it_and_are_named() -> None:
    assert asked((approval("ada"), approval("bob"))) == Opening(True, "approved by ada, bob", None, "")


def test_one_approval_is_one() -> None:
    one = environment(policy=Policy(approvals={"major": 1}))
    assert asked((), at=one).reason == "needs 1 approval, has none"


@pytest.mark.parametrize(
    "other",
    [
        {"from_target": "1.1.0@111111111111"},
        {"from_target": None},
        {"to_target": "2.0.0@333333333333"},
        {"path": ("1.5.0", "2.0.0")},
        {"revision": "b" * 40},
    ],
)
def test_an_approval_of_another_change_is_void_and_says_so(other: dict[str, Any]) -> None:
    gate = asked((approval("ada"), approval("bob", replace(ASK, **other))))
    assert gate.reason == (
        "needs 2 approvals, has 1 (ada); not counted: "
        "bob (approved it from another start, by another path or commit, or with another config)"
    )


@pytest.mark.parametrize(
    "other", [{"to_target": "2.1.0@222222222222"}, {"service": "web"}, {"environment": "staging"}]
)
def test_an_approval_of_something_else_altogether_is_not_mentioned(other: dict[str, Any]) -> None:
    assert asked((approval("ada", replace(ASK, **other)),)).reason == "needs 2 approvals, has none"


def test_an_approval_covers_every_later_step_of_its_path() -> None:
    whole = replace(ASK, path=("1.5.0", "1.9.0", "2.0.0"))
    second = replace(whole, from_target="1.5.0@555555555555", path=("1.9.0", "2.0.0"))
    third = replace(whole, from_target="1.9.0@999999999999", path=("2.0.0",))
    assert covers(whole, whole)
    assert covers(whole, second)
    assert covers(whole, third)
    assert covers(second, third)
    assert not covers(second, whole)
    assert not covers(whole, replace(third, from_target="1.5.0@555555555555"))
    assert not covers(whole, replace(third, from_target=None))
    assert not covers(whole, replace(second, path=("1.8.0", "2.0.0")))
    assert not covers(whole, replace(third, revision="b" * 40))
    assert not covers(whole, replace(whole, path=()))


def test_who_wrote_the_change_does_not_approve_it_under_four_eyes() -> None:
    strict = environment(policy=Policy(approvals={"major": 2}, four_eyes=True))
    authors = frozenset({"Ada Lovelace", "ada@example.org", "Bob"})
    given_by = tuple(map(approval, ("ada", "bob", "ADA@example.org", "eve", "carl")))
    assert asked(given_by, at=strict, authors=authors) == Opening(True, "approved by eve, carl", None, "")
    assert asked(given_by[:4], at=strict, authors=authors).reason == (
        "needs 2 approvals, has 1 (eve); not counted: ada (wrote the change), bob (wrote the change), "
        "ADA@example.org (wrote the change)"
    )
    assert asked(given_by[:2], authors=authors).open


def test_nobody_counts_while_it_is_not_known_who_wrote_the_change() -> None:
    strict = environment(policy=Policy(approvals={"major": 1}, four_eyes=True))
    gate = asked((approval("eve"),), at=strict, authors=None)
    assert gate.reason == "needs 1 approval, has none; not counted: eve (who wrote the change is not known)"
    assert asked((approval("eve"),), at=strict, authors=frozenset()).open


@pytest.mark.parametrize(
    ("by", "is_one"),
    [
        ("ada", True),
        ("ADA", True),
        ("ada@example.org", True),
        ("Ada  Lovelace", True),
        ("adam", False),
        ("", False),
    ],
)
def test_an_author_is_known_by_name_address_and_user(by: str, *, is_one: bool) -> None:
    assert wrote(by, ["Ada Lovelace", "ada@example.org"]) is is_one


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ada", "Ada@Example.org", True),
        ("ada@example.org", "ADA@example.org ", True),
        ("ada@example.org", "ada@other.example", False),
        ("ada", "adam@example.org", False),
        ("repo:org/fleet:ref:refs/heads/main", "repo", False),
    ],
)
def test_a_token_and_an_account_of_one_name_are_one_person(one: str, other: str, *, same: bool) -> None:
    assert same_person(one, other) is same
    assert same_person(other, one) is same


def test_one_person_is_counted_once_by_whatever_name() -> None:
    given = tuple(map(approval, ("ada", "ada@example.org", "Ada")))
    assert asked(given).reason == "needs 2 approvals, has 1 (ada)"
    assert asked((*given, approval("bob@example.org"))).open


@pytest.mark.parametrize(
    ("policy", "floor", "change_class", "number"),
    [
        ({}, {}, "major", 0),
        ({"major": 2}, {}, "major", 2),
        ({"major": 2}, {}, "minor", 0),
        ({"major": 2}, {"major": 1}, "major", 2),
        ({"major": 1}, {"major": 3}, "major", 3),
        ({"major": 0}, {"major": 1}, "major", 1),
        ({"patch": 1}, {}, "config", 1),
        ({"patch": 1, "config": 0}, {}, "config", 0),
        ({"patch": 1, "config": 0}, {"patch": 2}, "config", 2),
        ({"major": 2}, {}, "removal", 2),
        ({"major": 2, "removal": 3}, {}, "removal", 3),
        ({"major": 2}, {"major": 2}, "initial", 0),
        ({"initial": 1}, {"rollback": 1}, "rollback", 1),
    ],
)
def test_how_many_are_needed(
    policy: dict[ChangeClass, int], floor: dict[ChangeClass, int], change_class: ChangeClass, number: int
) -> None:
    here = environment(policy=Policy(approvals=policy))
    assert approvals_needed(here, change_class, floor=floor) == number


def test_an_emergency_needs_the_approvals_of_its_step() -> None:
    old, new = work("1.0.0"), work("2.0.0", of=release("2.0.0", upgrade=Upgrading(urgency="emergency")))
    assert approval_class(change(old, new, change_class="emergency")) == "major"
    assert approval_class(change(old, work("1.1.0"), change_class="emergency")) == "minor"
    assert approval_class(change(new, work("1.9.0"), change_class="emergency", downgrade=True)) == "major"
    assert approval_class(change(old, work("1.0.1"), change_class="emergency", running=None)) == "patch"
    assert approval_class(change(None, work("1.0.1"), change_class="emergency")) == "major"
    assert approval_class(change(old, new, change_class="rollback")) == "rollback"
    young, step = work("0.1.0"), work("0.2.0")
    assert approval_class(change(young, step, change_class="emergency")) == "major"
    assert approval_class(change(young, step, change_class="emergency"), zero_minor="minor") == "minor"


def test_the_approvals_of_a_longer_way_are_those_of_all_of_it() -> None:
    old, between, new = work("1.0.0"), work("1.9.0"), work("2.0.0")
    first = change(old, between, change_class="minor", goal=new, path=("1.9.0", "2.0.0"))
    assert approval_class(first) == "major"
    assert step_class(first) == "minor"
    ask = ask_of(first, REVISION, first.path)
    assert (ask.to_target, ask.path) == (str(new.target), ("1.9.0", "2.0.0"))
    last = change(between, new, change_class="major")
    assert covers(ask, ask_of(last, REVISION, last.path))


def test_what_is_asked_names_everything_that_an_approval_is_bound_to() -> None:
    old, new = work("1.0.0"), work("2.0.0")
    ask = ask_of(change(old, new), REVISION, ("1.5.0", "2.0.0"))
    assert ask == Ask("production", "api", str(old.target), str(new.target), ("1.5.0", "2.0.0"), REVISION)
    crashed = ask_of(change(old, new, running=None), REVISION, ("1.5.0", "2.0.0"))
    assert crashed == ask
    assert ask_of(change(None, new), REVISION, ("2.0.0",)).from_target is None


NAMES = st.sampled_from(["ada", "Ada", "bob", "carl", "eve", "ugs@example.org"])
ASKS = st.builds(
    Ask,
    environment=st.sampled_from(["production", "staging"]),
    service=st.sampled_from(["api", "web"]),
    from_target=st.sampled_from([None, "1.0.0@000000000000", "1.5.0@555555555555"]),
    to_target=st.sampled_from(["2.0.0@222222222222", "2.0.0@333333333333"]),
    path=st.sampled_from([("2.0.0",), ("1.5.0", "2.0.0")]),
    revision=st.sampled_from(["a" * 40, "b" * 40]),
)
APPROVALS = st.builds(
    Approval,
    id=st.integers(1, 9),
    ask=ASKS,
    by=NAMES,
    at=st.just(NOW),
    until=st.sampled_from([NOW, NOW + HOUR]),
)
POLICIES = st.builds(
    Policy, approvals=st.just({}) | st.builds(dict, major=st.integers(0, 3)), four_eyes=st.booleans()
)
AUTHORS = st.none() | st.frozensets(NAMES, max_size=2)


@given(st.lists(APPROVALS, max_size=6), APPROVALS, ASKS, POLICIES, AUTHORS, st.integers(0, 2))
def test_one_more_approval_never_closes_the_gate(
    given_: list[Approval],
    another: Approval,
    ask: Ask,
    policy: Policy,
    authors: frozenset[str] | None,
    at_least: int,
) -> None:
    here = environment(policy=policy)
    before = asked(tuple(given_), at=here, ask=ask, floor={"major": at_least}, authors=authors)
    after = asked((*given_, another), at=here, ask=ask, floor={"major": at_least}, authors=authors)
    assert after.open or not before.open


@given(st.lists(APPROVALS, max_size=6), ASKS, POLICIES, AUTHORS)
def test_it_is_open_exactly_when_enough_distinct_people_approved_this_and_may(
    given_: list[Approval], ask: Ask, policy: Policy, authors: frozenset[str] | None
) -> None:
    """An oracle written from the rules, without paths: the only step that is on the way is asked apart."""
    people = {one.by.lower() for one in given_ if one.ask == ask and one.until > NOW}
    on_the_way = ask.path == ("2.0.0",) and (ask.from_target or "").startswith("1.5.0")
    if on_the_way:
        people |= {
            one.by.lower()
            for one in given_
            if one.until > NOW
            and one.ask.path == ("1.5.0", "2.0.0")
            and (one.ask.environment, one.ask.service) == (ask.environment, ask.service)
            and (one.ask.to_target, one.ask.revision) == (ask.to_target, ask.revision)
        }
    if policy.four_eyes:
        names = {name.lower() for name in authors or ()}
        people = people - names - {name.partition("@")[0] for name in names} if authors is not None else set()
    gate = asked(tuple(given_), at=environment(policy=policy), ask=ask, authors=authors)
    assert gate.open is (len(people) >= policy.approvals.get("major", 0))


@given(st.lists(APPROVALS, max_size=6), ASKS, st.integers(1, 3))
def test_any_change_of_target_or_commit_voids_every_approval(
    given_: list[Approval], ask: Ask, number: int
) -> None:
    here = environment(policy=Policy(approvals={"major": number}))
    assert not asked(tuple(given_), at=here, ask=replace(ask, to_target="2.0.0@444444444444")).open
    assert not asked(tuple(given_), at=here, ask=replace(ask, revision="c" * 40)).open


# reviews on the forge

PULL = "https://forge.example/ops/fleet/pull/7"
COUNT = environment(policy=Policy(approvals={"major": 2}, reviews="count"))


def review(by: str, **fields: Any) -> Approval:
    return approval(by, via=PULL, **{"known": False} | fields)


def test_a_review_opens_it_where_the_environment_says_so_and_is_told_as_one() -> None:
    two = (review("ada-l"), review("bob"))
    gate = asked(two, at=COUNT)
    assert gate.open
    assert gate.reason == f"approved by ada-l, by a review of {PULL}, bob, by a review of {PULL}"
    shut = asked(two)
    assert "not counted: ada-l (reviewed it, which does not count here)" in shut.reason


def test_owners_alone_count_where_the_environment_says_so() -> None:
    at = environment(policy=Policy(approvals={"major": 1}, reviews="owners"))
    assert not asked((review("ada"),), at=at).open
    assert asked((review("ada", owner=True),), at=at).open


def test_nobody_counts_twice_once_as_a_person_and_once_as_an_account() -> None:
    assert not asked((approval("ada@example.org"), review("ada@example.org", known=True)), at=COUNT).open
    # Of an account that nobody names, it may be the same person who has said so to UGS.
    assert not asked((approval("ada@example.org"), review("lovelace")), at=COUNT).open
    assert asked((approval("ada@example.org"), review("bob@example.org", known=True)), at=COUNT).open
    assert asked((approval("ada@example.org"), review("lovelace"), review("bob42")), at=COUNT).open


def test_the_daemon_s_own_minimum_wants_people_whom_it_knows() -> None:
    two = (review("lovelace"), review("bob42"))
    gate = asked(two, at=COUNT, floor={"major": 1})
    assert not gate.open
    assert "and 1 approval must be of people whom ugs.yaml knows" in gate.reason
    assert asked((*two, review("cyd@example.org", known=True)), at=COUNT, floor={"major": 1}).open


def test_four_eyes_count_only_who_is_known_not_to_have_written_it() -> None:
    at = environment(policy=Policy(approvals={"major": 1}, reviews="count", four_eyes=True))
    authors = frozenset({"Ada Lovelace", "ada@example.org"})
    assert not asked((review("lovelace"),), at=at, authors=authors).open
    assert not asked((review("ada@example.org", known=True),), at=at, authors=authors).open
    assert asked((review("bob@example.org", known=True),), at=at, authors=authors).open
