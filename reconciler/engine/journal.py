"""One upgrade with its journal, as a plain value for `--json` and the API."""

from __future__ import annotations

from typing import Any

from reconciler.model.codec import builtins
from reconciler.model.stay import Stay, stays
from reconciler.model.upgrade import Companion, Phase, Upgrade
from reconciler.store import Step, Store

MOVES_MAX = 5_000
PHASES = frozenset(phase.value for phase in Phase)
"""The events of the audit that are moves."""


def entry(store: Store, upgrade: Upgrade) -> dict[str, Any]:
    """One upgrade as `ugs history --json` prints it."""
    return {
        "operation": upgrade.operation,
        "change": f"{upgrade.environment}/{upgrade.service}",
        "environment": upgrade.environment,
        "service": upgrade.service,
        "class": upgrade.change_class,
        "from": str(upgrade.before.target) if upgrade.before else None,
        "to": str(upgrade.to) if upgrade.to else None,
        "revision": upgrade.revision,
        "phase": upgrade.phase.value,
        "created_at": builtins(upgrade.created_at),
        "started_at": builtins(upgrade.started_at),
        "ended_at": builtins(upgrade.ended_at),
        "reason": upgrade.reason,
        "revert_commit": upgrade.revert_commit,
        "taken_with": upgrade.taken_with or None,
        "companions": [_companion(companion) for companion in upgrade.companions],
        "phases": builtins(phases_of(store, upgrade.operation)),
        "steps": [_step(step) for step in store.steps(upgrade.operation)],
    }


def phases_of(store: Store, operation: str) -> list[Stay]:
    """How long an upgrade stayed in each phase that it came through, by its audit."""
    rows = store.audit_of(operation, limit=MOVES_MAX)
    return stays((Phase(row.event), row.at) for row in rows if row.event in PHASES)


def _companion(companion: Companion) -> dict[str, Any]:
    return {
        "service": companion.service,
        "operation": companion.operation or None,
        "from": str(companion.failed),
        "to": str(companion.restored) if companion.restored else None,
        "reason": companion.why,
        "left": companion.outcome or None,
    }


def _step(step: Step) -> dict[str, Any]:
    value: dict[str, Any] = builtins(step)
    del value["operation"]
    return value
