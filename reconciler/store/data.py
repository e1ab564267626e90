"""Which migrations of services' data are applied, and which backups there are."""

from __future__ import annotations

import sqlite3

from reconciler.model.data import Recorded, Saved
from reconciler.store.audit import Audit
from reconciler.store.values import bounded, text_of, time_of, time_or_none

OF = (
    " WHERE (:environment IS NULL OR environment = :environment) AND (:service IS NULL OR service = :service)"
)


class DataRecords(Audit):
    def migrated(self, recorded: Recorded, *, actor: str = "ugs") -> None:
        """The newest state of one migration, with its row in the audit."""
        with self.transaction():
            self._run(
                "INSERT OR REPLACE INTO migrations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    recorded.environment,
                    recorded.service,
                    recorded.id,
                    recorded.version,
                    recorded.operation,
                    recorded.state,
                    text_of(recorded.changed_at),
                    bounded(recorded.evidence),
                    int(recorded.proven),
                ),
            )
            self.audit(
                f"migration-{recorded.state}",
                environment=recorded.environment,
                service=recorded.service,
                operation=recorded.operation,
                actor=actor,
                detail=f"{recorded.id} of {recorded.version}",
            )

    def prove_migrations(self, environment: str, service: str) -> None:
        """A version proved healthy on what they made of the data."""
        if not self.migrations(environment, service):
            return
        self._write(
            "UPDATE migrations SET proven = 1 WHERE environment = ? AND service = ? AND state = 'done'",
            (environment, service),
        )

    def migrations(self, environment: str | None = None, service: str | None = None) -> list[Recorded]:
        """Every migration that was ever touched, in the order in which they first were."""
        rows = self._all(
            f"SELECT * FROM migrations{OF} ORDER BY environment, service, changed_at, id",  # noqa: S608 - a constant
            {"environment": environment, "service": service},
        )
        return [
            Recorded(
                environment=row["environment"],
                service=row["service"],
                id=row["id"],
                version=row["version"],
                operation=row["operation"],
                state=row["state"],
                changed_at=time_of(row["changed_at"]),
                evidence=row["evidence"],
                proven=bool(row["proven"]),
            )
            for row in rows
        ]

    def saved(self, backup: Saved) -> None:
        """The newest state of one backup, with its row in the audit."""
        with self.transaction():
            self._run(
                "INSERT OR REPLACE INTO backups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    backup.id,
                    backup.environment,
                    backup.service,
                    backup.operation,
                    backup.kind,
                    backup.version,
                    backup.path,
                    backup.state,
                    text_of(backup.saved_at),
                    text_of(backup.verified_at) if backup.verified_at else None,
                    backup.size_bytes,
                    backup.sha256,
                ),
            )
            self._audit_backup(backup, backup.state)

    def drop_backup(self, backup: Saved, why: str) -> None:
        """It is gone, or about to go: nothing relies on it from now on."""
        with self.transaction():
            self._run("DELETE FROM backups WHERE id = ?", (backup.id,))
            self._audit_backup(backup, "dropped", why)

    def backups(self, environment: str | None = None, service: str | None = None) -> list[Saved]:
        """Newest first."""
        rows = self._all(
            f"SELECT * FROM backups{OF} ORDER BY saved_at DESC, id DESC",  # noqa: S608 - a constant
            {"environment": environment, "service": service},
        )
        return [_saved(row) for row in rows]

    def _audit_backup(self, backup: Saved, what: str, why: str = "") -> None:
        self.audit(
            f"backup-{what}",
            environment=backup.environment,
            service=backup.service,
            operation=backup.operation,
            detail=f"{backup.id}: {why}" if why else backup.id,
        )


def _saved(row: sqlite3.Row) -> Saved:
    return Saved(
        id=row["id"],
        environment=row["environment"],
        service=row["service"],
        operation=row["operation"],
        kind=row["kind"],
        version=row["version"],
        path=row["path"],
        state=row["state"],
        saved_at=time_of(row["saved_at"]),
        verified_at=time_or_none(row["verified_at"]),
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
    )
