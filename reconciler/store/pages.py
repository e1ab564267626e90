"""The past, a page at a time: each page begins where the one before ended, whatever has come in meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct

from reconciler.model.upgrade import Upgrade
from reconciler.store.audit import Audit, row_of
from reconciler.store.memory import Scalar
from reconciler.store.rows import AuditRow

T = TypeVar("T")
CHUNK = 500
LOOKED_MAX = 5_000
"""So many rows are looked at for one page at the most; a page may so be short, and still not be the last."""


class Mark(Struct, frozen=True):
    """Where a page ended: after the row of this age and number. `at` is empty where the number alone orders."""

    at: str
    row: int


class Past(Struct, frozen=True):
    """Which of the past is asked for. What is None is not asked about; instants as the database writes them."""

    environment: str | None = None
    service: str | None = None
    operation: str | None = None
    phase: str | None = None
    change_class: str | None = None
    event: str | None = None
    actor: str | None = None
    text: str | None = None
    """Somewhere in an audit row, in upper or lower case."""
    since: str | None = None
    until: str | None = None


class Pages(Audit):
    def history(
        self, asked: Past, after: Mark | None, *, limit: int, seen: Callable[[Upgrade], bool]
    ) -> tuple[list[Upgrade], Mark | None]:
        """Upgrades, newest first, and where the next page begins."""

        def upgrade_of(row: sqlite3.Row) -> Upgrade | None:
            upgrade = self._value(row["value"], Upgrade)
            return upgrade if seen(upgrade) else None

        return self._page(
            "SELECT rowid AS number, created_at AS age, value FROM upgrades"
            " WHERE (:at IS NULL OR (created_at, rowid) < (:at, :row))"
            " AND (:environment IS NULL OR environment = :environment)"
            " AND (:service IS NULL OR service = :service)"
            " AND (:phase IS NULL OR phase = :phase)"
            " AND (:change_class IS NULL OR json_extract(value, '$.change_class') = :change_class)"
            " AND (:since IS NULL OR created_at >= :since) AND (:until IS NULL OR created_at < :until)"
            " ORDER BY created_at DESC, rowid DESC LIMIT :looked",
            asked,
            after,
            limit,
            upgrade_of,
        )

    def audit_page(
        self, asked: Past, after: Mark | None, *, limit: int, seen: Callable[[AuditRow], bool]
    ) -> tuple[list[AuditRow], Mark | None]:
        """Rows of the audit, newest first, and where the next page begins."""

        def shown(row: sqlite3.Row) -> AuditRow | None:
            value = row_of(row)
            return value if _fits(value, asked) and seen(value) else None

        return self._page(
            "SELECT *, id AS number, '' AS age FROM maintenance_logs WHERE (:row IS NULL OR id < :row)"
            " AND (:since IS NULL OR at >= :since) AND (:until IS NULL OR at < :until)"
            " ORDER BY id DESC LIMIT :looked",
            asked,
            after,
            limit,
            shown,
        )

    def _page(
        self,
        sql: str,
        asked: Past,
        after: Mark | None,
        limit: int,
        shown: Callable[[sqlite3.Row], T | None],
    ) -> tuple[list[T], Mark | None]:
        """What is shown of the rows, and the last that was looked at, where more come after it. Most pages are full
        after a few rows: more are read only where those were not enough."""
        found: list[T] = []
        at, looked, chunk = after, 0, limit + 1
        while looked < LOOKED_MAX:
            number = min(chunk, LOOKED_MAX - looked)
            rows = self._fetch(sql, _values(asked, at, number))
            for row in rows:
                if len(found) == limit:
                    return found, at
                if (value := shown(row)) is not None:
                    found.append(value)
                at = Mark(row["age"], row["number"])
            if len(rows) < number:
                return found, None
            looked, chunk = looked + number, CHUNK
        return found, at


def _values(asked: Past, after: Mark | None, looked: int) -> dict[str, Scalar]:
    return {
        "at": after.at if after else None,
        "row": after.row if after else None,
        "environment": asked.environment,
        "service": asked.service,
        "phase": asked.phase,
        "change_class": asked.change_class,
        "since": asked.since,
        "until": asked.until,
        "looked": looked,
    }


def _fits(row: AuditRow, asked: Past) -> bool:
    wanted = (
        (asked.environment, row.environment),
        (asked.service, row.service),
        (asked.operation, row.operation),
        (asked.event, row.event),
        (asked.actor, row.actor),
    )
    if any(one is not None and one != has for one, has in wanted):
        return False
    if asked.text is None:
        return True
    words = " ".join((row.event, row.environment, row.service, row.operation, row.actor, row.detail))
    return asked.text.casefold() in words.casefold()
