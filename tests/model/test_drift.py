"""What was changed by hand: told apart from crashes, from pins that wait, and from what upgrades leave behind."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.model import plan
from reconciler.model.drift import drift_of, drifts, left_running
from reconciler.model.observation import Observation
from reconciler.model.plan import Records
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import Phase
from tests.build import NOW, desired, good, instance, seen, upgrade, work

OLD, NEW, OTHER = work("1.0.0"), work("1.1.0"), work("0.9.0")


def edited(target: Target, what: str = "replicas: 3 instead of 2") -> dict[str, Observation]:
    return {"api": Observation("api", (replace(instance(0, target), drift=what),))}


def known(*works: Workload, left: Workload | None = None) -> Records:
    return replace(good(*works), left={"api": left.target} if left else {})


def test_what_was_edited_is_drift_and_says_how() -> None:
    [drift] = drifts(desired(OLD), edited(OLD.target), known(OLD), frozenset())
    assert (drift.work, drift.what) == (OLD, "instance 0: replicas: 3 instead of 2")


def test_last_good_drifts_even_while_a_newer_pin_waits() -> None:
    [drift] = drifts(desired(NEW), edited(OLD.target), known(OLD), frozenset())
    assert drift.work == OLD


def test_what_is_being_upgraded_or_is_pinned_no_longer_does_not_drift() -> None:
    assert drifts(desired(OLD), edited(OLD.target), known(OLD), frozenset({"api"})) == []
    assert drifts(desired(), edited(OLD.target), known(OLD), frozenset()) == []
    assert drifts(desired(OLD), {}, known(OLD), frozenset()) == []


def test_what_somebody_put_into_its_place_is_drift_and_no_change() -> None:
    records = known(NEW, OLD, left=NEW)
    [drift] = drifts(desired(NEW), seen(OLD), records, frozenset())
    assert drift.what == f"{OLD.target} runs in its place"
    assert plan.plan(desired(NEW), seen(OLD), records, now=NOW) == []


def test_what_an_upgrade_left_unproven_is_a_change_as_before() -> None:
    for left in (None, OTHER):
        records = known(NEW, OLD, left=left)
        assert drifts(desired(NEW), seen(OLD), records, frozenset()) == []
        [change] = plan.plan(desired(NEW), seen(OLD), records, now=NOW)
        assert change.after == NEW


def test_what_is_pinned_and_runs_before_its_turn_is_no_drift() -> None:
    assert drift_of(OLD, seen(NEW)["api"], NEW, OLD.target) == ""


def test_what_runs_beside_last_good_is_no_drift() -> None:
    both = Observation("api", (instance(0, OLD.target), instance(1, OTHER.target)))
    assert drift_of(OLD, both, OLD, OLD.target) == ""


def test_how_a_drift_shows_in_sync() -> None:
    assert plan.sync_of(OLD, edited(OLD.target)["api"], drifted=True) == "drifted"
    assert plan.sync_of(NEW, seen(OLD)["api"], drifted=True) == "drifted"


def test_what_is_not_ours_is_foreign() -> None:
    foreign = Observation("api", (), "the container api is not ours")
    assert plan.sync_of(OLD, foreign) == "foreign"
    assert plan.plan(desired(OLD), {"api": foreign}, known(OLD), now=NOW) == []
    assert plan.repairs(desired(OLD), {"api": foreign}, known(OLD), frozenset()) == [OLD]
    assert plan.sync_of(OLD, replace(foreign, instances=seen(OLD)["api"].instances)) == "in-sync"


def test_what_an_upgrade_leaves_running() -> None:
    def left(phase: Phase, **fields: object) -> Target | None:
        return left_running(upgrade(OLD, NEW, phase=phase, **fields))

    assert left(Phase.SUCCEEDED) == NEW.target
    for phase in (Phase.REVERTED, Phase.RESTORED, Phase.CANCELLED):
        assert left(phase) == OLD.target
    assert left(Phase.REVERTED, needs_person=True) is None
    assert left(Phase.SUPERSEDED) is None
    assert left(Phase.STUCK) is None
