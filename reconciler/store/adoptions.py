"""What people have let be adopted, each with its rows in the audit."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from reconciler.model.adoption import Adoption
from reconciler.store.audit import Audit
from reconciler.store.values import bounded, hour_of, text_of, time_of

IN_FORCE = "used_at IS NULL AND withdrawn_at IS NULL AND until > :now"


class AdoptionRecords(Audit):
    def adopt(
        self, environment: str, service: str, *, what: str, reason: str, by: str, until: datetime
    ) -> Adoption:
        """One person's word that what stands there may be taken over."""
        with self.transaction():
            [row] = self._returned(
                "INSERT INTO adoptions (environment, service, what, reason, person, at, until)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
                (
                    environment,
                    service,
                    bounded(what),
                    bounded(reason),
                    bounded(by),
                    self._stamp(),
                    text_of(until),
                ),
            )
            made = _adoption(row)
            self._audit_adoption("adoption", made, by, f"until {row['until']}: {reason}: {what}")
        return made

    def withdraw_adoption(self, number: int, *, by: str) -> Adoption | None:
        """Take it back; None when there is none of this number in force."""
        return self._end_adoption(
            "withdrawn_at = :now, withdrawn_by = :by WHERE id = :id",
            "adoption-withdrawn",
            by,
            {"id": number, "by": bounded(by)},
        )

    def use_adoption(self, environment: str, service: str) -> Adoption | None:
        """What was let be taken over has been; None where nothing was."""
        if not any(one.service == service for one in self.adoptions(environment)):
            return None
        return self._end_adoption(
            "used_at = :now WHERE environment = :environment AND service = :service",
            "adoption-used",
            "ugs",
            {"environment": environment, "service": service},
        )

    def adoptions(self, environment: str) -> tuple[Adoption, ...]:
        """All that is in force, the oldest first."""
        now = self._now()
        found = self._known(
            f"SELECT * FROM adoptions WHERE environment = :environment AND {IN_FORCE} ORDER BY id",  # noqa: S608 - a literal
            {"environment": environment, "now": hour_of(now)},
            _adoptions,
        )
        return tuple(one for one in found if one.until > now)

    def _end_adoption(self, how: str, event: str, by: str, values: dict[str, str | int]) -> Adoption | None:
        with self.transaction():
            rows = self._returned(
                f"UPDATE adoptions SET {how} AND {IN_FORCE} RETURNING *",  # noqa: S608 - two literals above
                values | {"now": self._stamp()},
            )
            if not rows:
                return None
            ended = _adoption(rows[-1])
            self._audit_adoption(event, ended, by, f"by {ended.by}: {ended.reason}")
        return ended

    def _audit_adoption(self, event: str, adoption: Adoption, actor: str, detail: str) -> None:
        self.audit(
            event,
            environment=adoption.environment,
            service=adoption.service,
            actor=actor,
            detail=f"{adoption.id}: {detail}",
        )


def _adoptions(rows: list[sqlite3.Row]) -> list[Adoption]:
    return [_adoption(row) for row in rows]


def _adoption(row: sqlite3.Row) -> Adoption:
    return Adoption(
        id=row["id"],
        environment=row["environment"],
        service=row["service"],
        what=row["what"],
        reason=row["reason"],
        by=row["person"],
        at=time_of(row["at"]),
        until=time_of(row["until"]),
    )
