"""What people have said about gates: holds, approvals and overrides, each with its row in the audit."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

from reconciler.model import codec
from reconciler.model.permits import Approval, Ask, Hold, Override, Permits
from reconciler.store.adoptions import AdoptionRecords
from reconciler.store.starts import StartRecords
from reconciler.store.values import bounded, hour_of, text_of, time_of, time_or_none

EXPIRED_SHOWN = timedelta(days=30)
"""For so long an approval that expired is handed out still, so that people are told why it does not count."""

FORGET = (
    "DELETE FROM holds WHERE id <= (SELECT max(id) FROM holds) - :kept_max"
    " AND (released_at IS NOT NULL OR until <= :now)",
    "DELETE FROM approvals WHERE id <= (SELECT max(id) FROM approvals) - :kept_max"
    " AND (withdrawn_at IS NOT NULL OR until <= :now)",
    "DELETE FROM overrides WHERE id <= (SELECT max(id) FROM overrides) - :kept_max"
    " AND confirmed_at IS NOT NULL AND until <= :now",
    "DELETE FROM adoptions WHERE id <= (SELECT max(id) FROM adoptions) - :kept_max"
    " AND (used_at IS NOT NULL OR withdrawn_at IS NOT NULL OR until <= :now)",
    "DELETE FROM starts WHERE id <= (SELECT max(id) FROM starts) - :kept_max AND until <= :now",
)


class PermitRecords(AdoptionRecords, StartRecords):
    def hold(
        self, environment: str, service: str | None, *, reason: str, owner: str, until: datetime | None
    ) -> Hold:
        """Hold an environment, or one service of it; without an end, until it is released."""
        with self.transaction():
            [row] = self._returned(
                "INSERT INTO holds (environment, service, reason, owner, since, until)"
                " VALUES (?, ?, ?, ?, ?, ?) RETURNING *",
                (environment, service, bounded(reason), bounded(owner), self._stamp(), _text(until)),
            )
            hold = _hold(row)
            self._audit_permit("held", hold, hold.owner, f"until {_text(until) or 'released'}: {reason}")
        return hold

    def release_hold(self, number: int, *, by: str) -> Hold | None:
        """End a hold before its time; None when there is none of this number in force."""
        with self.transaction():
            rows = self._returned(
                "UPDATE holds SET released_at = :now, released_by = :by WHERE id = :id"
                " AND released_at IS NULL AND (until IS NULL OR until > :now) RETURNING *",
                {"now": self._stamp(), "by": bounded(by), "id": number},
            )
            if not rows:
                return None
            hold = _hold(rows[0])
            self._audit_permit("hold-released", hold, by, f"held by {hold.owner}: {hold.reason}")
        return hold

    def approve(
        self, ask: Ask, *, by: str, until: datetime, via: str = "", owner: bool = False, known: bool = True
    ) -> Approval:
        """One person's word for exactly this. `via`: the pull request where it was given by a review, by somebody who
        is an `owner` there, and `known` to ugs.yaml."""
        with self.transaction():
            [row] = self._returned(
                "INSERT INTO approvals (environment, ask, approver, at, until, via, owner, known)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                (
                    ask.environment,
                    codec.encode(ask).decode(),
                    bounded(by),
                    self._stamp(),
                    text_of(until),
                    bounded(via),
                    owner,
                    known,
                ),
            )
            approval = self._approval(row)
            self._audit_approval("approved", approval, by)
        return approval

    def withdraw_approval(self, number: int, *, by: str) -> Approval | None:
        """Take an approval back; None when there is none of this number in force."""
        with self.transaction():
            rows = self._returned(
                "UPDATE approvals SET withdrawn_at = :now, withdrawn_by = :by"
                " WHERE id = :id AND withdrawn_at IS NULL AND until > :now RETURNING *",
                {"now": self._stamp(), "by": bounded(by), "id": number},
            )
            if not rows:
                return None
            approval = self._approval(rows[0])
            self._audit_approval("approval-withdrawn", approval, by)
        return approval

    def was_withdrawn(self, ask: Ask, *, by: str, via: str) -> bool:
        """Whether somebody took back what this person's review had been taken for."""
        found = self._all(
            "SELECT 1 FROM approvals WHERE environment = ? AND ask = ? AND approver = ? AND via = ?"
            " AND withdrawn_by != 'ugs' LIMIT 1",
            (ask.environment, codec.encode(ask).decode(), bounded(by), bounded(via)),
        )
        return bool(found)

    def override(
        self, environment: str, service: str | None, *, gate: str, reason: str, by: str, until: datetime
    ) -> Override:
        """Have a gate of an environment, or of one service of it, count as open until then."""
        with self.transaction():
            [row] = self._returned(
                "INSERT INTO overrides (environment, service, gate, reason, person, at, until)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
                (environment, service, gate, bounded(reason), bounded(by), self._stamp(), text_of(until)),
            )
            made = _override(row)
            self._audit_permit("overridden", made, by, f"{gate} until {row['until']}: {reason}")
        return made

    def confirm_override(self, number: int, *, by: str) -> Override | None:
        """Close the open question; None when there is no unconfirmed override of this number."""
        with self.transaction():
            rows = self._returned(
                "UPDATE overrides SET confirmed_at = ?, confirmed_by = ?"
                " WHERE id = ? AND confirmed_at IS NULL RETURNING *",
                (self._stamp(), bounded(by), number),
            )
            if not rows:
                return None
            confirmed = _override(rows[0])
            detail = f"{confirmed.gate}, by {confirmed.by}: {confirmed.reason}"
            self._audit_permit("override-confirmed", confirmed, by, detail)
        return confirmed

    def permits(self, environment: str) -> Permits:
        """All that is in force, the oldest first; beside it, overrides that nobody has confirmed and approvals
        that expired a short while ago."""
        now = self._now()
        shown = now - EXPIRED_SHOWN
        # What ends within the hour is sorted out here, so that the questions stay the same all that time.
        values = {"environment": environment, "hour": hour_of(now), "shown": hour_of(shown)}
        holds = self._known(
            "SELECT * FROM holds WHERE environment = :environment AND released_at IS NULL"
            " AND (until IS NULL OR until > :hour) ORDER BY id",
            values,
            _holds,
        )
        approvals = self._known(
            "SELECT * FROM approvals WHERE environment = :environment AND withdrawn_at IS NULL"
            " AND until > :shown ORDER BY id",
            values,
            self._approvals,
        )
        overrides = self._known(
            "SELECT * FROM overrides WHERE environment = :environment"
            " AND (confirmed_at IS NULL OR until > :hour) ORDER BY id",
            values,
            _overrides,
        )
        return Permits(
            holds=tuple(one for one in holds if one.until is None or one.until > now),
            approvals=tuple(one for one in approvals if one.until > shown),
            overrides=tuple(one for one in overrides if one.confirmed_by is None or one.until > now),
            adoptions=self.adoptions(environment),
            starts=self.starts(environment),
        )

    def forget_permits(self, *, kept_max: int) -> None:
        """Drop what has ended, but for the newest of each kind. The audit keeps it all."""
        with self.transaction():
            for sql in FORGET:
                self._run(sql, {"now": self._stamp(), "kept_max": kept_max})

    def _approvals(self, rows: list[sqlite3.Row]) -> list[Approval]:
        return [self._approval(row) for row in rows]

    def _approval(self, row: sqlite3.Row) -> Approval:
        return Approval(
            id=row["id"],
            ask=self._value(row["ask"], Ask),
            by=row["approver"],
            at=time_of(row["at"]),
            until=time_of(row["until"]),
            via=row["via"],
            owner=bool(row["owner"]),
            known=bool(row["known"]),
        )

    def _audit_permit(self, event: str, permit: Hold | Override, actor: str, detail: str) -> None:
        self.audit(
            event,
            environment=permit.environment,
            service=permit.service or "",
            actor=actor,
            detail=f"{permit.id}: {detail}",
        )

    def _audit_approval(self, event: str, approval: Approval, actor: str) -> None:
        ask = approval.ask
        self.audit(
            event,
            environment=ask.environment,
            service=ask.service,
            actor=actor,
            detail=f"{approval.id}: by {approval.by} until {text_of(approval.until)}:"
            f" {ask.from_target or 'nothing'} → {ask.to_target} by {ask.revision}"
            + (f", by a review of {approval.via}" if approval.via else ""),
        )


def _holds(rows: list[sqlite3.Row]) -> list[Hold]:
    return [_hold(row) for row in rows]


def _overrides(rows: list[sqlite3.Row]) -> list[Override]:
    return [_override(row) for row in rows]


def _hold(row: sqlite3.Row) -> Hold:
    return Hold(
        id=row["id"],
        environment=row["environment"],
        service=row["service"],
        reason=row["reason"],
        owner=row["owner"],
        since=time_of(row["since"]),
        until=time_or_none(row["until"]),
    )


def _override(row: sqlite3.Row) -> Override:
    return Override(
        id=row["id"],
        environment=row["environment"],
        service=row["service"],
        gate=row["gate"],
        reason=row["reason"],
        by=row["person"],
        at=time_of(row["at"]),
        until=time_of(row["until"]),
        confirmed_by=row["confirmed_by"],
    )


def _text(at: datetime | None) -> str | None:
    return text_of(at) if at else None
