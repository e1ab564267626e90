"""Targets that failed, and stay shut out until a person releases them."""

from __future__ import annotations

import sqlite3

from reconciler.model.target import Target
from reconciler.model.upgrade import Upgrade
from reconciler.store.audit import Audit
from reconciler.store.rows import Quarantine
from reconciler.store.values import bounded, text_of, time_of
from reconciler.store.versions import Versions


class Quarantines(Audit, Versions):
    def quarantine(self, upgrade: Upgrade, *, reason: str) -> None:
        """Shut out what the upgrade was to reach, and freeze its release. Does nothing the second time."""
        if upgrade.after is None:
            raise RuntimeError(f"{upgrade.operation}: a removal has no target to quarantine")
        with self.transaction():
            self._see(upgrade.after, upgrade.revision)
            added = self._run(
                "INSERT INTO rollback_records (operation, environment, service, failed_target,"
                " restored_target, reason, quarantined_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (operation) DO UPDATE SET reason = excluded.reason, released_at = NULL,"
                " quarantined_at = excluded.quarantined_at WHERE released_at IS NOT NULL",
                (
                    upgrade.named,
                    upgrade.environment,
                    upgrade.service,
                    str(upgrade.after.target),
                    str(upgrade.before.target) if upgrade.before else None,
                    bounded(reason),
                    self._stamp(),
                ),
            ).rowcount
            if added:
                self.audit(
                    "quarantined",
                    environment=upgrade.environment,
                    service=upgrade.service,
                    operation=upgrade.named,
                    detail=f"{upgrade.after.target}: {reason}",
                )

    def quarantined(self, environment: str) -> list[Quarantine]:
        """Those not released, oldest first."""
        found = self._known(
            "SELECT * FROM rollback_records WHERE environment = ? AND released_at IS NULL"
            " ORDER BY quarantined_at, rowid",
            (environment,),
            _quarantines,
        )
        return list(found)

    def quarantine_of(self, operation: str) -> Quarantine | None:
        """What the operation quarantined, released or not."""
        row = self._one("SELECT * FROM rollback_records WHERE operation = ?", (operation,))
        return _quarantine(row) if row else None

    def recall_quarantine(self, record: Quarantine) -> bool:
        """Shut out again what Git says failed; True unless it is on record already, released or not."""
        with self.transaction():
            added = self._run(
                "INSERT INTO rollback_records (operation, environment, service, failed_target,"
                " restored_target, reason, quarantined_at, revert_commit) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (
                    record.operation,
                    record.environment,
                    record.service,
                    str(record.target),
                    str(record.restored) if record.restored else None,
                    bounded(record.reason),
                    text_of(record.quarantined_at),
                    record.revert_commit,
                ),
            ).rowcount
            if added:
                self.audit(
                    "quarantine-recalled",
                    environment=record.environment,
                    service=record.service,
                    operation=record.operation,
                    detail=f"{record.target}: {record.reason}",
                )
        return bool(added)

    def release_quarantine(
        self, environment: str, service: str, *, operation: str | None, by: str, why: str
    ) -> list[Quarantine]:
        """Release those of the service, or the one of `operation` alone; the answer is what was released."""
        with self.transaction():
            released = [
                record
                for record in self.quarantined(environment)
                if record.service == service and operation in (None, record.operation)
            ]
            for record in released:
                self._run(
                    "UPDATE rollback_records SET released_at = ?, released_by = ?, release_reason = ?"
                    " WHERE operation = ?",
                    (self._stamp(), bounded(by), bounded(why), record.operation),
                )
                self.audit(
                    "quarantine-released",
                    environment=environment,
                    service=service,
                    operation=record.operation,
                    actor=by,
                    detail=f"{record.target}: {why}",
                )
        return released

    def reverted(self, operation: str, commit: str) -> None:
        """The remote's branch contains `commit`, which took the failed pin back."""
        with self.transaction():
            changed = self._run(
                "UPDATE rollback_records SET revert_commit = ? WHERE operation = ?", (commit, operation)
            ).rowcount
            if changed == 0:
                raise RuntimeError(f"{operation}: reverted, but never quarantined")


def _quarantines(rows: list[sqlite3.Row]) -> list[Quarantine]:
    return [_quarantine(row) for row in rows]


def _quarantine(row: sqlite3.Row) -> Quarantine:
    return Quarantine(
        operation=row["operation"],
        environment=row["environment"],
        service=row["service"],
        target=Target.parse(row["failed_target"]),
        restored=Target.parse(row["restored_target"]) if row["restored_target"] else None,
        reason=row["reason"],
        quarantined_at=time_of(row["quarantined_at"]),
        revert_commit=row["revert_commit"],
    )
