"""What is to be told: to people (a channel each), to Git (`note`) and to a forge (`forge`), kept until it was."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import datetime

from reconciler.model import codec
from reconciler.model.notice import Notice
from reconciler.model.report import Report
from reconciler.store.database import Database
from reconciler.store.rows import Note, OutboxRow
from reconciler.store.values import bounded, text_of, time_of, time_or_none

SLACK, NOTE, FORGE = "slack", "note", "forge"

Route = Callable[[Notice], Sequence[str]]


class Outbox(Database):
    _route: Route | None = None

    def route_by(self, route: Route) -> None:
        """From now on `route` says which channels a notice goes to; until then, it is the channel `slack`."""
        self._route = route

    def tell(self, notice: Notice) -> None:
        """To be told to people, in the thread of its upgrade if it has one: once in each channel."""
        with self._together():
            for channel in self._route(notice) if self._route else (SLACK,):
                self._enqueue(channel, notice.operation or "", notice)

    def write_note(self, note: Note) -> None:
        """To be pushed to Git."""
        self._enqueue(NOTE, note.operation, note)

    def report(self, report: Report, *, at: datetime | None = None) -> None:
        """To be told to the forge, not before `at`. What waits to be told by then already, waits once."""
        with self.transaction():
            self._run(
                "INSERT INTO outbox (channel, key, payload, created_at, next_at)"
                " SELECT :channel, '', :payload, :now, :at WHERE NOT EXISTS (SELECT 1 FROM outbox"
                "  WHERE channel = :channel AND payload = :payload AND done_at IS NULL AND attempts = 0"
                "  AND next_at > :now AND next_at <= :at)",
                {
                    "channel": FORGE,
                    "payload": codec.encode(report).decode(),
                    "now": self._stamp(),
                    "at": text_of(at) if at else self._stamp(),
                },
            )

    def _enqueue(self, channel: str, key: str, value: Notice | Note) -> None:
        urgent = bool(key) and isinstance(value, Notice) and value.urgent
        with self._together() if urgent else nullcontext():
            if urgent:
                # What is urgent waits for no digest, nor does what comes before it in its thread.
                self._run(
                    "UPDATE outbox SET digest = 0, next_at = :now WHERE channel = :channel AND key = :key"
                    " AND digest = 1 AND attempts = 0 AND done_at IS NULL",
                    {"channel": channel, "key": key, "now": self._stamp()},
                    of=[channel],
                )
            # Behind what waits under the same key: a thread is told in order.
            self._write(
                "INSERT INTO outbox (channel, key, payload, created_at, next_at)"
                " VALUES (:channel, :key, :payload, :now, coalesce((SELECT max(next_at) FROM outbox"
                "  WHERE channel = :channel AND key = :key AND key <> '' AND done_at IS NULL), :now))",
                {
                    "channel": channel,
                    "key": key,
                    "payload": codec.encode(value).decode(),
                    "now": self._stamp(),
                },
                of=[channel],
            )

    def due(self, channel: str, now: datetime, *, limit: int) -> list[OutboxRow]:
        """What may be delivered now, oldest first."""
        return [
            OutboxRow(
                id=row["id"],
                channel=row["channel"],
                key=row["key"],
                payload=row["payload"],
                created_at=time_of(row["created_at"]),
                attempts=row["attempts"],
                next_at=time_of(row["next_at"]),
                error=row["error"],
                digest=bool(row["digest"]),
            )
            for row in self._all(
                "SELECT * FROM outbox WHERE channel = ? AND done_at IS NULL AND next_at <= ?"
                " ORDER BY id LIMIT ?",
                (channel, text_of(now), limit),
            )
        ]

    def next_due(self, channel: str) -> datetime | None:
        """When something of the channel is due next, which may be past; None when nothing waits."""
        row = self._one(
            "SELECT min(next_at) AS next_at FROM outbox WHERE channel = ? AND done_at IS NULL",
            (channel,),
            of=channel,
        )
        return time_of(row["next_at"]) if row and row["next_at"] else None

    def delivered(self, ids: Sequence[int], *, error: str = "") -> None:
        """They need no more attempts; `error` says why when they were given up."""
        self._write(
            "UPDATE outbox SET done_at = ?, error = ? WHERE id IN (SELECT value FROM json_each(?))",
            (self._stamp(), bounded(error), json.dumps(ids)),
        )

    def postpone(self, ids: Sequence[int], *, at: datetime, error: str) -> None:
        """Not before `at`; what waits under the same keys waits along, so that nothing overtakes."""
        with self.transaction():
            self._run(
                "UPDATE outbox SET next_at = :at, attempts = attempts + 1, error = :error"
                " WHERE done_at IS NULL AND (id IN (SELECT value FROM json_each(:ids))"
                "  OR key <> '' AND (channel, key) IN (SELECT channel, key FROM outbox"
                "   WHERE id IN (SELECT value FROM json_each(:ids))))",
                {"at": text_of(at), "error": bounded(error), "ids": json.dumps(ids)},
            )

    def hasten(self, *, later_than: datetime, channel: str = "") -> bool:
        """What would be tried again later than that, in one channel or in any, is due now, if there is any; what is
        gathered stays so."""
        waits = "done_at IS NULL AND digest = 0 AND next_at > :after AND :channel IN ('', channel)"
        values = {"after": text_of(later_than), "channel": channel, "now": self._stamp()}
        if self._one(f"SELECT 1 FROM outbox WHERE {waits}", values) is None:  # noqa: S608 - a constant
            return False
        self._write(f"UPDATE outbox SET next_at = :now WHERE {waits}", values)  # noqa: S608 - as above
        return True

    def gather(self, ids: Sequence[int], *, at: datetime) -> None:
        """They wait until then, to be told together with others, and what waits under the same keys does too."""
        with self.transaction():
            self._run(
                "UPDATE outbox SET next_at = :at, digest = 1 WHERE done_at IS NULL"
                " AND (id IN (SELECT value FROM json_each(:ids))"
                "  OR key <> '' AND (channel, key) IN (SELECT channel, key FROM outbox"
                "   WHERE id IN (SELECT value FROM json_each(:ids))))",
                {"at": text_of(at), "ids": json.dumps(ids)},
            )

    def noise(self, channel: str, since: datetime) -> int:
        """How many notices of severity info were written for the channel since then, told or not."""
        row = self._one(
            "SELECT count(*) AS told FROM outbox WHERE channel = ? AND created_at > ?"
            " AND json_extract(payload, '$.severity') = 'info'",
            (channel, text_of(since)),
        )
        return int(row["told"]) if row else 0

    def pending(self, channel: str) -> int:
        """How many wait."""
        row = self._one(
            "SELECT count(*) AS waiting FROM outbox WHERE channel = ? AND done_at IS NULL", (channel,)
        )
        return int(row["waiting"]) if row else 0

    def queues(self) -> dict[str, tuple[int, datetime | None]]:
        """By channel of which anything waits: how many, and since when the oldest that no digest gathers."""
        rows = self._all(
            "SELECT channel, count(*) AS waiting, min(iif(digest, NULL, created_at)) AS oldest FROM outbox"
            " WHERE done_at IS NULL GROUP BY channel"
        )
        return {row["channel"]: (row["waiting"], time_or_none(row["oldest"])) for row in rows}

    def trouble(self, channel: str) -> str:
        """Why the oldest of those that failed has not been delivered; empty when nothing failed."""
        row = self._one(
            "SELECT error FROM outbox WHERE channel = ? AND done_at IS NULL AND error <> ''"
            " ORDER BY id LIMIT 1",
            (channel,),
        )
        return str(row["error"]) if row else ""

    def give_up_others(self, channels: Sequence[str]) -> None:
        """Nothing waits for a channel that is none of these: ugs.yaml has it no longer."""
        with self.transaction():
            self._run(
                "UPDATE outbox SET done_at = ?, error = 'given up: ugs.yaml has no such channel'"
                " WHERE done_at IS NULL AND channel NOT IN (SELECT value FROM json_each(?))",
                (self._stamp(), json.dumps([NOTE, *channels])),
            )

    def thread(self, operation: str, outbox: str) -> tuple[str, str] | None:
        """Where the message of the upgrade stands in one channel of the outbox: channel and timestamp, in the
        messenger's own terms."""
        # Not asked for one outbox: the name of that column is a table's, too, with every write of which what was
        # read of it is forgotten.
        found = self._known("SELECT * FROM threads WHERE operation = ?", (operation,), _threads, of=operation)
        return found.get(outbox)

    def remember_thread(self, operation: str, outbox: str, channel: str, ts: str) -> None:
        self._write(
            "INSERT OR REPLACE INTO threads VALUES (?, ?, ?, ?)",
            (operation, outbox, channel, ts),
            of=[operation],
        )


def _threads(rows: list[sqlite3.Row]) -> dict[str, tuple[str, str]]:
    return {row["outbox"]: (row["channel"], row["ts"]) for row in rows}
