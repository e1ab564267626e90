"""How long an upgrade stays in its phases."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from reconciler.model.upgrade import FINAL, Phase

TIMED = tuple(phase for phase in Phase if phase not in FINAL and phase is not Phase.PLANNED)
"""In the others an upgrade either does not stay at all, or for ever."""


class Stay(Struct, frozen=True):
    """One stay in one phase; an upgrade may come back to it. `left_at` and `lasted_s`: None while it lasts."""

    phase: Phase
    entered_at: datetime
    left_at: datetime | None
    lasted_s: float | None


def lasted_s(entered_at: datetime, left_at: datetime) -> float:
    """However somebody sets the clock meanwhile, no stay is shorter than none."""
    return max(0.0, (left_at - entered_at).total_seconds())


def stays(moves: Iterable[tuple[Phase, datetime]]) -> list[Stay]:
    """By its moves, in their order. One to the phase in which it is already tells only another reason."""
    found: list[Stay] = []
    current: tuple[Phase, datetime] | None = None
    for phase, at in moves:
        if current and current[0] is phase:
            continue
        if current and current[0] in TIMED:
            found.append(Stay(current[0], current[1], at, lasted_s(current[1], at)))
        current = phase, at
    if current and current[0] in TIMED:
        found.append(Stay(current[0], current[1], None, None))
    return found
