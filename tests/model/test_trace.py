from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.trace import SPANS_MAX, Done, Moved, spans, trace_id
from reconciler.model.upgrade import FINAL, Phase, Upgrade

BEGAN = datetime(2026, 11, 5, 12, tzinfo=UTC)
seconds = st.integers(0, 10_000).map(lambda s: BEGAN + timedelta(seconds=s))
moved = st.builds(Moved, st.sampled_from(Phase), seconds, st.text(max_size=5))
done = st.builds(
    Done,
    st.text(min_size=1, max_size=5),
    seconds,
    st.none() | seconds,
    st.sampled_from(["", "ok", "failed"]),
)


def upgrade(phase: Phase = Phase.SUCCEEDED, ended_at: datetime | None = None) -> Upgrade:
    return Upgrade(
        operation="0123456789abcdef",
        environment="production",
        service="api",
        change_class="patch",
        revision="c" * 40,
        attempt=1,
        phase=phase,
        before=None,
        after=None,
        running=None,
        created_at=BEGAN,
        changed_at=BEGAN,
        ended_at=ended_at,
    )


@given(st.lists(moved, max_size=20), st.lists(done, max_size=20, unique_by=lambda one: one.step), seconds)
def test_whatever_the_journal_has_makes_one_tree_in_which_nothing_ends_before_it_began(
    moves: list[Moved], steps: list[Done], ended_at: datetime
) -> None:
    found = spans(upgrade(ended_at=ended_at), sorted(moves, key=lambda move: move.at), steps)
    ids = [span.id for span in found]
    assert len(set(ids)) == len(ids)
    assert [span.parent is None for span in found] == [True] + [False] * (len(found) - 1)
    assert all(span.parent in ids for span in found[1:])
    assert all(span.started_at <= span.ended_at for span in found)
    assert {phase.value for phase in FINAL}.isdisjoint(
        span.name for span in found if span.parent == found[0].id
    ) or (any(step.step in {phase.value for phase in FINAL} for step in steps))


def test_a_reason_that_changes_begins_no_other_phase() -> None:
    at = [BEGAN + timedelta(seconds=n) for n in range(5)]
    moves = [
        Moved(Phase.WAITING, at[0], "one"),
        Moved(Phase.WAITING, at[1], "two"),
        Moved(Phase.PREPARING, at[2]),
        Moved(Phase.WAITING, at[3], "again"),
        Moved(Phase.CANCELLED, at[4]),
    ]
    found = spans(upgrade(Phase.CANCELLED, at[4]), moves, [Done("artifact", at[2], None, "")])
    assert [(span.name, span.started_at, span.ended_at) for span in found] == [
        ("upgrade api", at[0], at[4]),
        ("waiting", at[0], at[2]),
        ("preparing", at[2], at[3]),
        ("waiting", at[3], at[4]),
        ("artifact", at[2], at[4]),
    ]
    assert found[4].parent == found[2].id
    assert found[4].attributes == {"ugs.outcome": "cut short"}
    assert [span.outcome for span in found] == ["unset"] * 5


def test_it_is_bounded_and_its_id_is_the_operations() -> None:
    many = [Done(str(n), BEGAN, BEGAN, "failed", "why") for n in range(2 * SPANS_MAX)]
    found = spans(upgrade(Phase.STUCK, BEGAN), [], many)
    assert len(found) == SPANS_MAX
    assert (found[0].outcome, found[1].outcome, found[1].detail) == ("error", "error", "why")
    assert trace_id("a") == trace_id("a") != trace_id("b")
    assert len(trace_id("a")) == 16
