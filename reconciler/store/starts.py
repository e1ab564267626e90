"""What people have said may start where only a person starts it, each with its row in the audit."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from reconciler.model import codec
from reconciler.model.permits import Ask, Start
from reconciler.store.audit import Audit
from reconciler.store.values import bounded, hour_of, text_of, time_of


class StartRecords(Audit):
    def start_asked(self, ask: Ask, *, by: str, reason: str, until: datetime) -> Start:
        """One person's word that exactly this may start."""
        with self.transaction():
            [row] = self._returned(
                "INSERT INTO starts (environment, ask, person, reason, at, until)"
                " VALUES (?, ?, ?, ?, ?, ?) RETURNING *",
                (
                    ask.environment,
                    codec.encode(ask).decode(),
                    bounded(by),
                    bounded(reason),
                    self._stamp(),
                    text_of(until),
                ),
            )
            made = self._start(row)
            self._audit_start("start-asked", made, by, f"{ask.to_target} by {ask.revision}: {reason}")
        return made

    def take_start_back(self, number: int, *, by: str) -> None:
        """It did not start, and is not to by itself; nothing where there is no such word in force."""
        with self.transaction():
            rows = self._returned("DELETE FROM starts WHERE id = ? RETURNING *", (number,))
            for row in rows:
                self._audit_start("start-taken-back", self._start(row), by, "its gates are closed")

    def starts(self, environment: str) -> tuple[Start, ...]:
        """All that is in force, the oldest first."""
        now = self._now()
        found = self._known(
            "SELECT * FROM starts WHERE environment = ? AND until > ? ORDER BY id",
            (environment, hour_of(now)),
            self._starts,
        )
        return tuple(one for one in found if one.until > now)

    def _starts(self, rows: list[sqlite3.Row]) -> list[Start]:
        return [self._start(row) for row in rows]

    def _start(self, row: sqlite3.Row) -> Start:
        return Start(
            id=row["id"],
            ask=self._value(row["ask"], Ask),
            by=row["person"],
            at=time_of(row["at"]),
            until=time_of(row["until"]),
        )

    def _audit_start(self, event: str, start: Start, actor: str, detail: str) -> None:
        self.audit(
            event,
            environment=start.ask.environment,
            service=start.ask.service,
            actor=actor,
            detail=f"{start.id}: {detail}",
        )
