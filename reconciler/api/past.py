"""The routes about what has been: upgrades with their journals, and the audit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from reconciler.api import cursor
from reconciler.api.endpoint import BadRequest, Endpoint
from reconciler.api.shapes import HistoryShape
from reconciler.engine.daemon import Daemon
from reconciler.engine.journal import entry
from reconciler.model.codec import builtins
from reconciler.model.environment import ChangeClass
from reconciler.model.rights import EVERYTHING, Caller, Place, may, sees_part_of
from reconciler.model.upgrade import Phase
from reconciler.store import AuditRow, Mark, Past
from reconciler.store.values import text_of

Name = Annotated[str, Meta(max_length=200)]
INSTANT = "write it as 2026-11-03T18:00:00+01:00"


class AskedHistory(Struct, frozen=True, forbid_unknown_fields=True):
    environment: Name | None = None
    service: Name | None = None
    phase: Phase | None = None
    class_: ChangeClass | None = field(default=None, name="class")
    since: Name | None = None
    until: Name | None = None
    limit: cursor.Limit = cursor.LIMIT
    cursor: cursor.Cursor | None = None


class AskedAudit(Struct, frozen=True, forbid_unknown_fields=True):
    environment: Name | None = None
    service: Name | None = None
    operation: Name | None = None
    event: Name | None = None
    actor: Name | None = None
    text: Name | None = None
    since: Name | None = None
    until: Name | None = None
    limit: cursor.Limit = cursor.LIMIT
    cursor: cursor.Cursor | None = None


class AuditRowShape(Struct, frozen=True):
    id: int
    at: datetime
    event: str
    environment: str
    service: str
    operation: str
    actor: str
    detail: str
    previous_hash: str
    hash: str


class AuditShape(Struct, frozen=True):
    rows: list[AuditRowShape]
    next: str | None


async def _history(daemon: Daemon, asked: AskedHistory, caller: Caller) -> object:
    store = daemon.core.store
    found, more = store.history(
        Past(
            environment=asked.environment,
            service=asked.service,
            phase=asked.phase,
            change_class=asked.class_,
            since=_instant("since", asked.since),
            until=_instant("until", asked.until),
        ),
        cursor.read(asked.cursor, Mark),
        limit=asked.limit,
        seen=lambda one: sees_part_of(caller, Place(one.environment, one.service)),
    )
    return {"upgrades": [entry(store, one) for one in found], "next": cursor.written(more)}


async def _audit(daemon: Daemon, asked: AskedAudit, caller: Caller) -> object:
    everything = may(caller, "administer", EVERYTHING)

    def seen(row: AuditRow) -> bool:
        if not row.environment:  # of tokens, of who was turned away, of the repository
            return everything
        return sees_part_of(caller, Place(row.environment, row.service or None))

    rows, more = daemon.core.store.audit_page(
        Past(
            environment=asked.environment,
            service=asked.service,
            operation=asked.operation,
            event=asked.event,
            actor=asked.actor,
            text=asked.text,
            since=_instant("since", asked.since),
            until=_instant("until", asked.until),
        ),
        cursor.read(asked.cursor, Mark),
        limit=asked.limit,
        seen=seen,
    )
    return {"rows": builtins(rows), "next": cursor.written(more)}


def _instant(name: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        # In a query a `+` that was not encoded arrives as a space.
        at = datetime.fromisoformat(text.replace(" ", "+") if text.count(" ") == 1 else text)
        if at.tzinfo is None:
            raise ValueError("no offset")
        return text_of(at.astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"`{name}` is no instant with an offset", INSTANT) from error


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "GET",
        "/upgrade/history",
        "Past upgrades with their journals, newest first.",
        "see",
        AskedHistory,
        _history,
        part=True,
        answers=HistoryShape,
    ),
    Endpoint(
        "GET", "/audit", "The audit, newest first.", "see", AskedAudit, _audit, part=True, answers=AuditShape
    ),
)
