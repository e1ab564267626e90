"""The audit: append-only, each row sealed by a hash over itself and the row before."""

from __future__ import annotations

import hashlib
import sqlite3

from reconciler.model import codec
from reconciler.store.database import Database
from reconciler.store.memory import question
from reconciler.store.rows import AuditBreak, AuditRow, Head
from reconciler.store.values import bounded, time_of

SEALED = (
    "id",
    "at",
    "event",
    "environment",
    "service",
    "operation",
    "actor",
    "detail",
    "previous_hash",
)

NEWEST = "SELECT id, hash FROM maintenance_logs ORDER BY id DESC LIMIT 1"
OF_OPERATION_MAX = 500


class Audit(Database):
    def audit(
        self,
        event: str,
        *,
        environment: str = "",
        service: str = "",
        operation: str = "",
        actor: str = "ugs",
        detail: str = "",
    ) -> None:
        """Append one row. Join it to what it tells of by a `transaction` around both."""
        with self._together():  # so that nobody else appends in between
            last = self.head()
            row: dict[str, str | int] = {
                "id": last.row + 1 if last else 1,
                "at": self._stamp(),
                "event": event,
                "environment": environment,
                "service": service,
                "operation": operation,
                "actor": bounded(actor),
                "detail": bounded(detail),
                "previous_hash": last.hash if last else "",
            }
            sealed = seal(row)
            self._run(
                "INSERT INTO maintenance_logs VALUES (:id, :at, :event, :environment, :service, :operation,"
                " :actor, :detail, :previous_hash, :hash)",
                row | {"hash": sealed},
            )
            self._append(Head(int(row["id"]), sealed))

    def head(self) -> Head | None:
        """The newest row of the audit; None when it has none."""
        return self._known(NEWEST, (), _head)

    def _append(self, head: Head) -> None:
        """This is the newest row of the audit from now on."""
        self._appended = True
        if self._memory is not None:
            self._memory.keep(question(NEWEST, (), _head), head, 1)

    def close(self) -> None:
        super().close()
        if self._witness:
            self._witness.close()

    def _committed(self) -> None:
        if self._appended and self._witness and (head := self.head()):
            self._appended = False
            self._witness.write(head)
        super()._committed()

    def contains(self, head: Head) -> bool:
        """Whether this database has come as far as that, and on the same way."""
        row = self._one("SELECT hash FROM maintenance_logs WHERE id = ?", (head.row,))
        return row is not None and row["hash"] == head.hash

    def audit_rows(self, *, limit: int) -> list[AuditRow]:
        """The newest `limit` rows, newest first."""
        return list(
            map(row_of, self._all("SELECT * FROM maintenance_logs ORDER BY id DESC LIMIT ?", (limit,)))
        )

    def audit_since(self, number: int, *, limit: int) -> list[AuditRow]:
        """The rows after the one of that number, oldest first, at most `limit`."""
        rows = self._all("SELECT * FROM maintenance_logs WHERE id > ? ORDER BY id LIMIT ?", (number, limit))
        return list(map(row_of, rows))

    def audit_of(self, operation: str, *, limit: int = OF_OPERATION_MAX) -> list[AuditRow]:
        """The first rows of one operation, oldest first."""
        rows = self._all(
            "SELECT * FROM maintenance_logs WHERE operation = ? AND operation != '' ORDER BY id LIMIT ?",
            (operation, limit),
        )
        return list(map(row_of, rows))

    def verify_audit(self) -> AuditBreak | None:
        """The first row that was changed, put in or taken out; None when every row is as it was written."""
        # Asked first: the daemon may append while this reads.
        newest = self._one("SELECT seq FROM sqlite_sequence WHERE name = 'maintenance_logs'")
        expected_id, previous_hash = 1, ""
        # Row by row: the audit is kept for ever, so it may not fit in memory.
        for row in self._each("SELECT * FROM maintenance_logs ORDER BY id"):
            if row["id"] != expected_id:
                return AuditBreak(expected_id, "the row is missing")
            if row["previous_hash"] != previous_hash:
                return AuditBreak(expected_id, "the row does not follow from the one before it")
            if row["hash"] != seal(row):
                return AuditBreak(expected_id, "the row is not what its hash was made from")
            expected_id, previous_hash = expected_id + 1, row["hash"]
        if newest and newest["seq"] >= expected_id:
            return AuditBreak(expected_id, "the row is missing")
        return None


def row_of(row: sqlite3.Row) -> AuditRow:
    return AuditRow(
        id=row["id"],
        at=time_of(row["at"]),
        event=row["event"],
        environment=row["environment"],
        service=row["service"],
        operation=row["operation"],
        actor=row["actor"],
        detail=row["detail"],
        previous_hash=row["previous_hash"],
        hash=row["hash"],
    )


def seal(row: dict[str, str | int] | sqlite3.Row) -> str:
    """SHA-256 in hex over the canonical JSON of everything but the hash itself."""
    return hashlib.sha256(codec.encode({name: row[name] for name in SEALED})).hexdigest()


def _head(rows: list[sqlite3.Row]) -> Head | None:
    return Head(rows[0]["id"], rows[0]["hash"]) if rows else None
