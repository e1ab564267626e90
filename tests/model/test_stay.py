"""How long an upgrade stayed in its phases, by its moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from reconciler.model.stay import Stay, lasted_s, stays
from reconciler.model.upgrade import Phase

AT = datetime(2026, 11, 3, 18, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def test_each_stay_ends_with_the_next_move_and_the_last_one_lasts() -> None:
    moves = [
        (Phase.PLANNED, AT),
        (Phase.WAITING, AT),
        (Phase.PREPARING, after(60)),
        (Phase.APPLYING, after(61.5)),
        (Phase.VERIFYING, after(64)),
    ]
    assert stays(moves) == [
        Stay(Phase.WAITING, AT, after(60), 60.0),
        Stay(Phase.PREPARING, after(60), after(61.5), 1.5),
        Stay(Phase.APPLYING, after(61.5), after(64), 2.5),
        Stay(Phase.VERIFYING, after(64), None, None),
    ]
    ended = stays([*moves, (Phase.SUCCEEDED, after(94))])
    assert ended[-1] == Stay(Phase.VERIFYING, after(64), after(94), 30.0)


def test_another_reason_for_the_same_phase_does_not_begin_it_anew_and_coming_back_does() -> None:
    moves = [
        (Phase.WAITING, AT),
        (Phase.WAITING, after(10)),
        (Phase.PREPARING, after(30)),
        (Phase.WAITING, after(31)),
    ]
    assert [(one.phase, one.lasted_s) for one in stays(moves)] == [
        (Phase.WAITING, 30.0),
        (Phase.PREPARING, 1.0),
        (Phase.WAITING, None),
    ]


def test_a_clock_that_was_set_back_makes_no_stay_shorter_than_none() -> None:
    assert lasted_s(after(5), AT) == 0.0
    assert stays([]) == []
