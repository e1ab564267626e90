"""Upgrades as they move, and the journal of their steps."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from reconciler.model import codec
from reconciler.model.notice import Notice
from reconciler.model.report import Report
from reconciler.model.target import Target
from reconciler.model.upgrade import NOT_BEGUN, Phase, Upgrade
from reconciler.store.audit import Audit
from reconciler.store.outbox import Outbox
from reconciler.store.rows import Note, Step
from reconciler.store.values import bounded, text_of, time_of, time_or_none

UPSERT = (
    "INSERT INTO upgrades VALUES (:operation, :environment, :service, :phase, :final, :revision,"
    " :from_target, :to_target, :created_at, :changed_at, :ended_at, :value)"
    " ON CONFLICT (operation) DO UPDATE SET"
    " phase = :phase, final = :final, changed_at = :changed_at, ended_at = :ended_at, value = :value"
)


NO_LIMIT = -1  # SQLite's own word for it
PAST_MAX = 100


class Upgrades(Audit, Outbox):
    def record(
        self,
        upgrade: Upgrade,
        *,
        event: str,
        actor: str = "ugs",
        detail: str = "",
        notices: Sequence[Notice] = (),
        note: Note | None = None,
        reports: Sequence[tuple[Report, datetime | None]] = (),
    ) -> None:
        """One move in one transaction: the upgrade as it is now, its audit row, what is to be told of it."""
        with self._together():
            self._run(
                UPSERT,
                {
                    "operation": upgrade.operation,
                    "environment": upgrade.environment,
                    "service": upgrade.service,
                    "phase": upgrade.phase.value,
                    "final": int(upgrade.final),
                    "revision": upgrade.revision,
                    "from_target": _text(upgrade.before.target if upgrade.before else None),
                    "to_target": _text(upgrade.to),
                    "created_at": text_of(upgrade.created_at),
                    "changed_at": text_of(upgrade.changed_at),
                    "ended_at": text_of(upgrade.ended_at) if upgrade.ended_at else None,
                    "value": codec.encode(upgrade).decode(),
                },
                of=[
                    upgrade.operation,
                    (upgrade.environment, upgrade.service),
                    *([_ended(upgrade.environment, upgrade.service)] if upgrade.final else []),
                ],
            )
            self.audit(
                event,
                environment=upgrade.environment,
                service=upgrade.service,
                operation=upgrade.operation,
                actor=actor,
                detail=detail,
            )
            for notice in notices:
                self.tell(notice)
            if note is not None:
                self.write_note(note)
            for report, at in reports:
                self.report(report, at=at)

    def upgrade(self, operation: str) -> Upgrade | None:
        found = self._known(
            "SELECT value FROM upgrades WHERE operation = ?", (operation,), self._moved, of=operation
        )
        return found[0] if found else None

    def upgrades(
        self,
        *,
        environment: str | None = None,
        service: str | None = None,
        unfinished: bool = False,
        limit: int | None = None,
    ) -> list[Upgrade]:
        """Newest first, at most `limit`. Where none is said: every unfinished one, else a hundred."""
        # Two texts: only a literal `final = 0` lets SQLite use the index of the few that are unfinished.
        found = self._known(
            "SELECT value FROM upgrades WHERE final = 0"
            " AND (:environment IS NULL OR environment = :environment)"
            " AND (:service IS NULL OR service = :service) ORDER BY created_at DESC, rowid DESC LIMIT :limit"
            if unfinished
            else "SELECT value FROM upgrades WHERE (:environment IS NULL OR environment = :environment)"
            " AND (:service IS NULL OR service = :service) ORDER BY created_at DESC, rowid DESC LIMIT :limit",
            {
                "environment": environment,
                "service": service,
                "limit": limit if limit is not None else NO_LIMIT if unfinished else PAST_MAX,
            },
            self._moved,
        )
        return list(found)

    def under_way(self, environment: str) -> frozenset[str]:
        """The services of which an upgrade has begun and not ended: of very many that wait, none is read for that."""
        return self._known(
            # The plus keeps SQLite from going through all that ever was of the environment.
            "SELECT service FROM upgrades WHERE final = 0 AND +environment = ? AND phase NOT IN (?, ?)",
            (environment, *sorted(NOT_BEGUN)),
            _services,
        )

    def upgrades_of(self, environment: str, revision: str) -> list[Upgrade]:
        """All that one commit brought, newest first."""
        found = self._known(
            "SELECT value FROM upgrades WHERE environment = ? AND revision = ? ORDER BY created_at DESC, rowid DESC",
            (environment, revision),
            self._moved,
        )
        return list(found)

    def attempts(
        self, environment: str, service: str, before: Target | None, after: Target | None, revision: str
    ) -> int:
        """How many upgrades for exactly this change have ended."""
        row = self._one(
            "SELECT count(*) AS ended FROM upgrades WHERE environment = ? AND service = ? AND revision = ?"
            " AND from_target = ? AND to_target = ? AND final = 1",
            (environment, service, revision, _text(before), _text(after)),
            of=_ended(environment, service),
        )
        return int(row["ended"]) if row else 0

    def durations(self, environment: str, service: str, *, limit: int = 20) -> list[float]:
        """How many seconds the last upgrades that succeeded took, the newest first."""
        ended = self._known(
            "SELECT value FROM upgrades WHERE environment = ? AND service = ? AND phase = ?"
            " ORDER BY created_at DESC, rowid DESC LIMIT ?",
            (environment, service, Phase.SUCCEEDED.value, limit),
            self._moved,
            of=_ended(environment, service),
        )
        return [(u.ended_at - u.started_at).total_seconds() for u in ended if u.ended_at and u.started_at]

    def begin(self, operation: str, step: str) -> None:
        """The step is about to have its effect; on return that is durable. A step cut short begins again."""
        self._write(
            "INSERT INTO steps (operation, step, started_at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
            " SET started_at = excluded.started_at, ended_at = NULL, outcome = '', detail = ''",
            (operation, step, self._stamp()),
            of=[operation],
        )

    def end(self, operation: str, step: str, *, outcome: str = "ok", detail: str = "") -> None:
        """The step had its effect, or failed to. It must have begun."""
        changed = self._write(
            "UPDATE steps SET ended_at = ?, outcome = ?, detail = ? WHERE operation = ? AND step = ?",
            (self._stamp(), outcome, bounded(detail), operation, step),
            of=[operation],
        ).rowcount
        if changed == 0:
            raise RuntimeError(f"{operation}: step {step} ended without having begun")

    def steps(self, operation: str) -> list[Step]:
        """The journal of one upgrade, in the order in which the steps first began."""
        return list(
            self._known(
                "SELECT * FROM steps WHERE operation = ? ORDER BY rowid", (operation,), _steps, of=operation
            )
        )

    def _moved(self, rows: list[sqlite3.Row]) -> list[Upgrade]:
        return [self._value(row["value"], Upgrade) for row in rows]


def _steps(rows: list[sqlite3.Row]) -> list[Step]:
    return [
        Step(
            operation=row["operation"],
            step=row["step"],
            started_at=time_of(row["started_at"]),
            ended_at=time_or_none(row["ended_at"]),
            outcome=row["outcome"],
            detail=row["detail"],
        )
        for row in rows
    ]


def _services(rows: list[sqlite3.Row]) -> frozenset[str]:
    return frozenset(row["service"] for row in rows)


def _ended(environment: str, service: str) -> tuple[str, str, str]:
    """What rows of upgrades of a service are of that have ended: an upgrade under way is none of them, and one that
    has ended goes nowhere else."""
    return environment, service, "ended"


def _text(target: Target | None) -> str:
    return str(target) if target else ""
