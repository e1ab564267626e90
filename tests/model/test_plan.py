"""From pins, observations and records to changes: which, of which class, and what is only a repair."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from reconciler.model import plan
from reconciler.model.observation import Observation
from reconciler.model.plan import Records
from reconciler.model.release import Upgrading
from reconciler.model.version import Version
from tests.build import NOW, desired, good, instance, pin, release, seen, work


def test_what_runs_as_pinned_needs_nothing() -> None:
    running = work("1.0.0")
    assert plan.plan(desired(running), seen(running), good(running), now=NOW) == []


def test_a_moved_pin_is_a_change_from_what_runs() -> None:
    old, new = work("1.0.0"), work("1.1.0")
    [change] = plan.plan(desired(new), seen(old), good(old), now=NOW)
    assert (change.change_class, change.running, change.before, change.after) == (
        "minor",
        old.target,
        old,
        new,
    )


def test_a_changed_pin_config_under_one_version_is_a_config_change() -> None:
    old, new = work("1.0.0"), work("1.0.0", instances=2)
    [change] = plan.plan(desired(new), seen(old), good(old), now=NOW)
    assert change.change_class == "config"
    assert old.target.version == new.target.version
    assert old.target != new.target


def test_a_service_without_any_record_is_initial() -> None:
    [change] = plan.plan(desired(work("1.0.0")), {}, Records(), now=NOW)
    assert (change.change_class, change.before, change.running) == ("initial", None, None)


def test_a_service_whose_first_deployment_failed_is_not_initial_again() -> None:
    records = Records(attempted={"api": Version("1.0.0")})
    [change] = plan.plan(desired(work("1.0.1")), {}, records, now=NOW)
    assert change.change_class == "patch"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("1.0.0", "1.0.1", "patch"),
        ("1.0.0", "1.1.0", "minor"),
        ("1.9.9", "2.0.0", "major"),
        ("0.3.0", "0.4.0", "major"),
        ("0.3.0", "0.3.1", "patch"),
        ("1.0.0-rc.1", "1.0.0", "patch"),
        ("2.1.0", "1.9.0", "major"),
        ("1.0.1", "1.0.0", "patch"),
    ],
)
def test_the_class_follows_from_the_step_whichever_way_it_goes(old: str, new: str, expected: str) -> None:
    found, down = plan.classify(
        work(old).target,
        work(new),
        good(work(old)).good["api"],
        None,
        desired(work(new)).environment.policy,
        NOW,
    )
    assert found == expected
    assert down == (Version(new) < Version(old))


def test_an_emergency_release_is_of_class_emergency() -> None:
    old = work("1.0.0")
    new = work("1.0.1", of=release("1.0.1", upgrade=Upgrading(urgency="emergency")))
    [change] = plan.plan(desired(new), seen(old), good(old), now=NOW)
    assert change.change_class == "emergency"


def test_the_way_back_to_what_was_directly_replaced_is_a_rollback() -> None:
    old, new = work("1.0.0"), work("1.1.0")
    [change] = plan.plan(desired(old), seen(new), good(new, old), now=NOW)
    assert (change.change_class, change.downgrade) == ("rollback", False)


def test_the_way_back_to_last_good_from_something_unproven_is_a_rollback() -> None:
    old, unproven = work("1.0.0"), work("1.1.0")
    [change] = plan.plan(desired(old), seen(unproven), good(old), now=NOW)
    assert change.change_class == "rollback"


def test_a_rollback_that_comes_too_late_is_a_downgrade() -> None:
    old, new = work("1.0.0"), work("1.1.0")
    records = good(new, old, at=NOW - timedelta(days=8))
    [change] = plan.plan(desired(old), seen(new), records, now=NOW)
    assert (change.change_class, change.downgrade) == ("minor", True)


def test_the_way_back_over_something_irreversible_is_a_downgrade() -> None:
    old = work("1.0.0")
    new = work("1.1.0", of=release("1.1.0", upgrade=Upgrading(reversible=False)))
    [change] = plan.plan(desired(old), seen(new), good(new, old), now=NOW)
    assert change.downgrade


def test_a_way_down_to_something_that_never_ran_is_a_downgrade() -> None:
    [change] = plan.plan(desired(work("0.9.0")), seen(work("1.0.0")), good(work("1.0.0")), now=NOW)
    assert change.downgrade


def test_what_stopped_is_repaired_and_not_upgraded() -> None:
    proven = work("1.0.0")
    records = good(proven)
    assert plan.plan(desired(proven), {}, records, now=NOW) == []
    assert plan.repairs(desired(proven), {}, records, frozenset()) == [proven]


def test_last_good_is_repaired_even_while_a_newer_pin_waits() -> None:
    proven, newer = work("1.0.0"), work("1.1.0")
    assert plan.repairs(desired(newer), {}, good(proven), frozenset()) == [proven]


def test_a_lost_instance_is_repaired() -> None:
    proven = work("1.0.0", instances=2)
    half = {"api": Observation("api", (instance(0, proven.target),))}
    assert plan.repairs(desired(proven), half, good(proven), frozenset()) == [proven]


def test_nothing_is_repaired_under_an_upgrade_or_beside_something_newer() -> None:
    proven, newer = work("1.0.0"), work("1.1.0")
    assert plan.repairs(desired(newer), {}, good(proven), frozenset({"api"})) == []
    assert plan.repairs(desired(newer), seen(newer), good(proven), frozenset()) == []


def test_what_a_superseded_upgrade_left_beside_the_pinned_last_good_is_a_leftover() -> None:
    proven, left = work("1.0.0"), work("1.1.0")
    both = {"api": Observation("api", (instance(0, proven.target), instance(0, left.target)))}
    assert plan.leftovers(desired(proven), both, good(proven), frozenset()) == [proven]


def test_what_may_still_be_wanted_is_no_leftover() -> None:
    proven, newer = work("1.0.0"), work("1.1.0")
    both = {"api": Observation("api", (instance(0, proven.target), instance(0, newer.target)))}
    assert plan.leftovers(desired(proven), both, good(proven), frozenset({"api"})) == []
    assert plan.leftovers(desired(newer), both, good(proven), frozenset()) == []
    assert plan.leftovers(desired(proven), seen(proven), good(proven), frozenset()) == []


def test_a_service_whose_pin_was_removed_is_not_started_again() -> None:
    assert plan.repairs(desired(), {}, good(work("1.0.0")), frozenset()) == []


def test_a_service_whose_pin_cannot_be_read_is_kept_running() -> None:
    proven = work("1.0.0")
    assert plan.repairs(desired(blind=frozenset({"api"})), {}, good(proven), frozenset()) == [proven]
    assert plan.repairs(desired(hidden=True), {}, good(proven), frozenset()) == [proven]


def test_two_targets_at_once_of_which_one_is_last_good_and_pinned_is_no_change() -> None:
    proven, other = work("1.0.0"), work("1.1.0")
    mixed = {"api": Observation("api", (instance(0, proven.target), instance(0, other.target)))}
    assert plan.plan(desired(proven), mixed, good(proven), now=NOW) == []


@pytest.mark.parametrize(
    ("pinned", "running", "expected"),
    [
        (work("1.0.0"), work("1.0.0"), "in-sync"),
        (work("1.1.0"), work("1.0.0"), "out-of-sync"),
        (work("1.0.0"), None, "missing"),
        (None, work("1.0.0"), "unpinned"),
    ],
)
def test_sync_compares_what_runs_with_what_is_pinned(pinned: object, running: object, expected: str) -> None:
    observation = seen(running)["api"] if isinstance(running, type(work())) else None
    wanted = pinned if isinstance(pinned, type(work())) else None
    assert plan.sync_of(wanted, observation) == expected


def test_a_lost_instance_is_drift() -> None:
    wanted = work("1.0.0", instances=2)
    assert plan.sync_of(wanted, Observation("api", (instance(1, wanted.target),))) == "drifted"


def test_pins_of_other_ports_are_other_targets() -> None:
    assert work("1.0.0", port=9000).target != work("1.0.0").target
    assert pin().port is None


def test_a_longer_way_to_what_is_pinned_no_longer_is_one_step() -> None:
    old, newest = release("1.1.0"), release("2.0.0", upgrade=Upgrading(from_=">=1.1.0"))
    before, goal = work("1.0.0"), work("2.0.0", of=newest)
    known = {"api": {one.version: one for one in (old, newest)}}
    pinned = msgspec.structs.replace(desired(goal), releases=known)
    records, observed = good(before), seen(before)
    there = plan.change_to(pinned, goal, observed["api"], records, now=NOW)
    assert (there.path, there.after and there.after.target.version) == (("1.1.0", "2.0.0"), old.version)
    gone = msgspec.structs.replace(desired(), releases=known)
    change = plan.change_to(gone, goal, observed["api"], records, now=NOW)
    assert (change.path, change.after) == (("1.1.0", "2.0.0"), goal)
