"""Since when something has been healthy: what begins the time anew, and what does not."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import pytest

from reconciler.engine.soak import unbroken
from reconciler.model.observation import HealthState
from reconciler.store import Transition
from tests.build import NOW

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("states", "hours", "ill"),
    [
        ("", 0, ""),
        ("healthy", 0, ""),
        ("degraded healthy", 1, ""),
        ("healthy degraded healthy", 2, ""),
        ("healthy degraded unknown healthy", 3, ""),
        ("healthy degraded healthy degraded", 2, "is degraded"),
        ("healthy degraded unknown", 0, "is degraded"),
        ("healthy unknown healthy", 0, ""),
        ("healthy unknown", 0, "has a health that is not known"),
    ],
)
def test_a_degradation_begins_the_time_anew_and_a_gap_in_what_is_known_does_not(
    states: str, hours: int, ill: str
) -> None:
    """One state an hour, the first of them at the beginning."""
    transitions = [
        Transition(cast(HealthState, state), NOW + number * HOUR, "")
        for number, state in enumerate(states.split())
    ]
    assert unbroken(transitions, NOW) == (NOW + hours * HOUR, ill)


def test_what_was_so_before_it_proved_healthy_does_not_make_it_older() -> None:
    before = [Transition("degraded", NOW - HOUR, ""), Transition("healthy", NOW - HOUR / 2, "")]
    assert unbroken(before, NOW) == (NOW, "")
