"""The table of legal moves, and the identity of an attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.upgrade import FINAL, NEXT, Phase, check_move, operation_id
from tests.build import REVISION, upgrade, work

OLD, NEW = work("1.0.0").target, work("1.1.0").target
names = st.text(st.characters(categories=("Ll", "Nd"), include_characters="-"), min_size=1, max_size=20)


def reachable(start: Phase) -> set[Phase]:
    seen, left = {start}, [start]
    while left:
        new = NEXT[left.pop()] - seen
        seen |= new
        left.extend(new)
    return seen


def test_every_phase_has_a_row_and_can_be_reached() -> None:
    assert NEXT.keys() == set(Phase)
    assert reachable(Phase.PLANNED) == set(Phase)


def test_every_phase_can_end() -> None:
    assert all(reachable(phase) & FINAL for phase in Phase)


def test_final_phases_are_final() -> None:
    assert {
        Phase.SUCCEEDED,
        Phase.REVERTED,
        Phase.RESTORED,
        Phase.SUPERSEDED,
        Phase.CANCELLED,
        Phase.STUCK,
    } == FINAL
    for phase in FINAL:
        assert upgrade(phase=phase).final
        with pytest.raises(RuntimeError, match=f"illegal move {phase}"):
            check_move(upgrade(phase=phase), Phase.PREPARING)


def test_only_what_was_restored_is_reverted_or_what_left_the_old_version_running() -> None:
    assert {phase for phase, following in NEXT.items() if Phase.REVERTING in following} == {
        Phase.RESTORING,
        Phase.PREPARING,
        Phase.APPLYING,
    }


def test_only_the_next_batch_is_applied_after_the_first_without_a_restore_between() -> None:
    before = {phase for phase, following in NEXT.items() if Phase.APPLYING in following}
    assert before == {Phase.PREPARING, Phase.VERIFYING}
    assert Phase.PREPARING not in NEXT[Phase.VERIFYING] | NEXT[Phase.APPLYING]


def test_a_legal_move_passes() -> None:
    check_move(upgrade(phase=Phase.VERIFYING), Phase.RESTORING)


def test_an_operation_id_is_the_same_on_every_machine() -> None:
    made = operation_id("production", "api", OLD, NEW, REVISION, 1)
    assert made == operation_id("production", "api", OLD, NEW, REVISION, 1)
    assert len(made) == 16
    assert set(made) <= set("0123456789abcdef")


def test_everything_that_makes_an_attempt_what_it_is_counts() -> None:
    ids = {
        operation_id("production", "api", OLD, NEW, REVISION, 1),
        operation_id("staging", "api", OLD, NEW, REVISION, 1),
        operation_id("production", "web", OLD, NEW, REVISION, 1),
        operation_id("production", "api", None, NEW, REVISION, 1),
        operation_id("production", "api", OLD, None, REVISION, 1),
        operation_id("production", "api", NEW, OLD, REVISION, 1),
        operation_id("production", "api", OLD, NEW, "b" * 40, 1),
        operation_id("production", "api", OLD, NEW, REVISION, 2),
    }
    assert len(ids) == 8


@given(names, names, names, names)
def test_names_never_run_into_each_other(a: str, b: str, c: str, d: str) -> None:
    same = (a, b) == (c, d)
    first, second = (operation_id(*pair, None, NEW, REVISION, 1) for pair in ((a, b), (c, d)))
    assert (first == second) is same
