"""One upgrade as a trace: itself, its phases, and their steps, from what the journal has of them.

Every id is worked out from the operation's, so that whichever daemon tells of it, tells of the same trace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from reconciler.model.upgrade import FINAL, Phase, Upgrade

TRACE_BYTES = 16
SPAN_BYTES = 8
SPANS_MAX = 500
Outcome = Literal["unset", "ok", "error"]
FAILED = frozenset({Phase.REVERTED, Phase.RESTORED, Phase.STUCK})


class Moved(Struct, frozen=True):
    """An upgrade was said to be in a phase: when, and why."""

    phase: Phase
    at: datetime
    reason: str = ""


class Done(Struct, frozen=True):
    """A step, as the journal keeps it; `ended_at` None: it was cut short."""

    step: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str
    detail: str = ""


class Span(Struct, frozen=True):
    """A part of the trace. `parent`: another's `id`, None for the whole upgrade."""

    id: bytes
    parent: bytes | None
    name: str
    started_at: datetime
    ended_at: datetime
    attributes: dict[str, str]
    outcome: Outcome = "unset"
    detail: str = ""


def trace_id(operation: str) -> bytes:
    return hashlib.sha256(f"trace {operation}".encode()).digest()[:TRACE_BYTES]


def spans(upgrade: Upgrade, moves: Sequence[Moved], steps: Iterable[Done]) -> list[Span]:
    """Of an upgrade that has ended: the whole, then its phases and steps in their order. `moves`: the oldest first."""
    ended = upgrade.ended_at or upgrade.changed_at
    began = min([upgrade.created_at, *(move.at for move in moves)])
    result: Outcome = (
        "error" if upgrade.phase in FAILED else "ok" if upgrade.phase is Phase.SUCCEEDED else "unset"
    )
    detail = upgrade.reason if result == "error" else ""
    root = Span(
        _id(upgrade, "upgrade"),
        None,
        f"upgrade {upgrade.service}",
        began,
        max(began, ended),
        _about(upgrade),
        result,
        detail,
    )
    phases = _phases(upgrade, root, moves)
    found = [root, *phases]
    for done in steps:
        within = next((one for one in reversed(phases) if one.started_at <= done.started_at), root)
        found.append(_step(upgrade, within, done, root.ended_at))
    return found[:SPANS_MAX]


def _phases(upgrade: Upgrade, root: Span, moves: Sequence[Moved]) -> list[Span]:
    """A phase lasts until another begins, however often its reason was told anew."""
    if not moves:
        return []
    changes = [moves[0], *(move for before, move in pairwise(moves) if before.phase is not move.phase)]
    ends = [*(move.at for move in changes[1:]), root.ended_at]
    return [
        Span(
            _id(upgrade, f"{number} {move.phase.value}"),
            root.id,
            move.phase.value,
            move.at,
            max(move.at, end),
            {"ugs.reason": move.reason} if move.reason else {},
        )
        for number, (move, end) in enumerate(zip(changes, ends, strict=True))
        if move.phase not in FINAL
    ]


def _step(upgrade: Upgrade, within: Span, done: Done, last: datetime) -> Span:
    failed = done.outcome not in ("", "ok")
    return Span(
        _id(upgrade, f"step {done.step}"),
        within.id,
        done.step,
        done.started_at,
        max(done.started_at, done.ended_at or last),
        {"ugs.outcome": done.outcome or "cut short"},
        "error" if failed else "unset",
        done.detail if failed else "",
    )


def _about(upgrade: Upgrade) -> dict[str, str]:
    return {
        "ugs.operation": upgrade.operation,
        "ugs.commit": upgrade.revision,
        "ugs.environment": upgrade.environment,
        "ugs.service": upgrade.service,
        "ugs.from": upgrade.before.target.version.text if upgrade.before else "",
        "ugs.to": upgrade.to.version.text if upgrade.to else "",
        "ugs.class": upgrade.change_class,
        "ugs.result": upgrade.phase.value,
        "ugs.actor": upgrade.actor,
        "ugs.revert_commit": upgrade.revert_commit or "",
    }


def _id(upgrade: Upgrade, part: str) -> bytes:
    return hashlib.sha256(f"span {upgrade.operation} {part}".encode()).digest()[:SPAN_BYTES]
