"""What holds of the gates together, whatever the day is like."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.model import sentence
from reconciler.model.circumstances import Circumstances
from reconciler.model.environment import Freeze, Policy
from reconciler.model.gates import closed, evaluate, starts_at
from reconciler.model.permits import Hold, Permits
from tests.build import NOW, change, environment, pin, seen, work

OLD, NEW = work("1.0.0"), work("1.1.0")
CHANGE = change(OLD, NEW)
CALM = Circumstances(
    environment=environment(pin("1.1.0"), policy=Policy(parallel=2)),
    observed=seen(OLD),
    quarantined={},
    busy=frozenset(),
    fetched_at=NOW,
    max_stale_s=600.0,
    initials=0,
    first_accepted=False,
)
HOLD = Hold(1, "production", None, "database move", "ada", NOW, None)
FROZEN = Freeze(reason="year end", from_="2026-11-01", until="2026-11-05")
CLOSING: dict[str, dict[str, Any]] = {
    "quarantine": {"quarantined": {("api", NEW.target): "HTTP 500; operation 0123"}},
    "hold": {"permits": Permits(holds=(HOLD,))},
    "dependency": {"refused": {"api": "api 1.1.0 needs base >=2.0.0; base 1.0.0 runs"}},
    "approval": {"floor": {"patch": 1}},
    "promotion": {"environment": environment(pin("1.1.0"), policy=Policy(parallel=2), freezes=(FROZEN,))},
    "stale": {"fetched_at": NOW - timedelta(hours=1)},
    "host": {"parked": {"api": ("port 8080 is taken", NOW + timedelta(seconds=20))}},
    "concurrency": {"busy": frozenset({"web", "base"})},
    "fit": {"expected_s": {"api": 60.0}},
}
"""One thing each that can only close, or leave alone."""

some = st.sets(st.sampled_from(sorted(CLOSING)))


def day(names: set[str]) -> Circumstances:
    around = CALM
    for name in names:
        around = replace(around, **CLOSING[name])
    return around


def shut(names: set[str]) -> set[str]:
    return {gate.gate for gate in closed(evaluate(CHANGE, day(names), now=NOW))}


@settings(max_examples=150, deadline=None)
@given(fewer=some, more=some)
def test_closing_one_gate_more_never_opens_another(fewer: set[str], more: set[str]) -> None:
    assert shut(fewer) <= shut(fewer | more)


@settings(max_examples=150, deadline=None)
@given(names=some)
def test_the_sentence_tells_every_closed_gate_and_no_open_one(names: set[str]) -> None:
    gates = evaluate(CHANGE, day(names), now=NOW)
    told = sentence.of_change(CHANGE, gates)
    waits = closed(gates)
    assert ("starts now" in told) == (not waits)
    assert all(gate.reason and gate.reason in told for gate in waits)
    assert not any(gate.reason in told for gate in gates if gate.open and gate.reason)


@settings(max_examples=150, deadline=None)
@given(names=some)
def test_nothing_starts_before_the_last_gate_that_the_clock_opens(names: set[str]) -> None:
    gates = evaluate(CHANGE, day(names), now=NOW)
    when = starts_at(gates, now=NOW)
    assert (when == NOW) == (not closed(gates)) or when is None or when > NOW
    if when is not None:
        assert all(gate.until is not None and gate.until <= when for gate in closed(gates))


def test_the_day_can_close_every_one_of_these() -> None:
    assert shut(set()) == set()
    assert {"quarantine", "hold", "dependency", "approval", "freeze", "stale", "host", "concurrency"} <= shut(
        set(CLOSING)
    )
