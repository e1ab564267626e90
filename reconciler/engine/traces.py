"""Telling of every upgrade that has ended, as a trace: read from the journal, so that a restart cuts none in two."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from reconciler.engine.core import Core
from reconciler.model.errors import UgsError
from reconciler.model.trace import Done, Moved, Span, spans, trace_id
from reconciler.model.upgrade import Phase, Upgrade

log = logging.getLogger("ugs")
PHASES = frozenset(phase.value for phase in Phase)
Tell = Callable[[bytes, Iterable[Span]], None]
"""Takes a trace's id and its spans; neither waits nor raises."""


def trace(core: Core, tell: Tell) -> None:
    """From now on every upgrade is told as it ends."""

    def hear(before: Upgrade, after: Upgrade) -> None:
        if not after.final or before.final:
            return
        try:
            found = spans_of(core, after)
        except UgsError as error:
            log.warning("operation %s is not traced: %s", after.operation, error)
        else:
            tell(trace_id(after.operation), found)

    core.heard.append(hear)


def spans_of(core: Core, upgrade: Upgrade) -> list[Span]:
    """What the audit and the journal have of it."""
    moves = [
        Moved(Phase(row.event), row.at, row.detail)
        for row in core.store.audit_of(upgrade.operation)
        if row.event in PHASES
    ]
    steps = [
        Done(step.step, step.started_at, step.ended_at, step.outcome, step.detail)
        for step in core.store.steps(upgrade.operation)
    ]
    return spans(upgrade, sorted(moves, key=lambda move: move.at), steps)
