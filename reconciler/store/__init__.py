"""SQLite: what UGS remembers. Git says what should run and drivers say what runs; this only remembers."""

from __future__ import annotations

from datetime import datetime

from reconciler.model.observation import HealthState
from reconciler.store.answers import Answers
from reconciler.store.connection import Corrupt, Damaged, Full
from reconciler.store.data import DataRecords
from reconciler.store.flags import FlagRecords
from reconciler.store.marks import (
    ADVANCES_MAX,
    DRIFT,
    EVERYWHERE,
    FLAGS,
    KNOWN,
    PROMOTION,
    PROMOTION_REFUSED,
    Marks,
)
from reconciler.store.outbox import FORGE, NOTE, SLACK
from reconciler.store.pages import Mark, Pages, Past
from reconciler.store.permits import PermitRecords
from reconciler.store.previews import Previews
from reconciler.store.probed import Probed, ProbeHour
from reconciler.store.proposals import Proposals
from reconciler.store.pulls import Pulls
from reconciler.store.quarantines import Quarantines
from reconciler.store.renames import Renames
from reconciler.store.rows import (
    Advance,
    AuditBreak,
    AuditRow,
    FlagRow,
    Head,
    Note,
    OutboxRow,
    Quarantine,
    Step,
    Transition,
)
from reconciler.store.sessions import Session, Sessions
from reconciler.store.slots import Slots
from reconciler.store.tallies import Tallies, Tally
from reconciler.store.tokens import Token, Tokens
from reconciler.store.upgrades import Upgrades
from reconciler.store.values import bounded, text_of, time_of

__all__ = [
    "DRIFT",
    "EVERYWHERE",
    "FLAGS",
    "FORGE",
    "KNOWN",
    "NOTE",
    "PROMOTION",
    "PROMOTION_REFUSED",
    "SLACK",
    "Advance",
    "AuditBreak",
    "AuditRow",
    "Corrupt",
    "Damaged",
    "FlagRow",
    "Full",
    "Head",
    "Mark",
    "Note",
    "OutboxRow",
    "Past",
    "ProbeHour",
    "Quarantine",
    "Session",
    "Step",
    "Store",
    "Tally",
    "Token",
    "Transition",
]

UPGRADES_MAX = 10_000
TRANSITIONS_MAX = 10_000
OUTBOX_DONE_MAX = 1_000
OUTBOX_PENDING_MAX = 10_000
PERMITS_MAX = 1_000
FLAG_ROWS_MAX = 10_000
PROBE_HOURS_MAX = 8 * 24
PULLS_MAX = 10_000
TRANSITIONS_OF_ONE_MAX = 500


class Store(
    Upgrades,
    Quarantines,
    Proposals,
    Previews,
    Pulls,
    PermitRecords,
    DataRecords,
    Marks,
    Renames,
    Slots,
    Tokens,
    Tallies,
    Sessions,
    FlagRecords,
    Probed,
    Pages,
    Answers,
):
    """The database of one daemon, used from its event loop's thread alone; other processes open it read-only.

    Every writing method is one transaction of its own, or part of the caller's: `with store.transaction():`.
    All raise HostError and TransientError, and `Damaged` when the daemon must end.
    """

    def health(self, environment: str, service: str, state: HealthState, detail: str) -> bool:
        """Remember the state if it is another than before; True when it is."""
        last = self._one(
            "SELECT state FROM health_status WHERE environment = ? AND service = ? ORDER BY id DESC LIMIT 1",
            (environment, service),
            of=(environment, service),
        )
        if last and last["state"] == state:
            return False
        self._write(
            "INSERT INTO health_status (environment, service, state, since, detail) VALUES (?, ?, ?, ?, ?)",
            (environment, service, state, self._stamp(), bounded(detail)),
            of=[(environment, service)],
        )
        return True

    def transitions(
        self, environment: str, service: str, *, since: datetime, limit: int = TRANSITIONS_OF_ONE_MAX
    ) -> list[Transition]:
        """How a service was from then on, oldest first, beginning with what was so already; the newest `limit`."""
        rows = self._all(
            "SELECT state, since, detail FROM health_status WHERE environment = ? AND service = ?"
            " AND id >= coalesce((SELECT max(id) FROM health_status WHERE environment = ? AND service = ?"
            " AND since <= ?), 0) ORDER BY id DESC LIMIT ?",
            (environment, service, environment, service, text_of(since), limit),
        )
        return [Transition(row["state"], time_of(row["since"]), row["detail"]) for row in reversed(rows)]

    def prune(
        self,
        *,
        upgrades_max: int = UPGRADES_MAX,
        transitions_max: int = TRANSITIONS_MAX,
        done_max: int = OUTBOX_DONE_MAX,
        pending_max: int = OUTBOX_PENDING_MAX,
        permits_max: int = PERMITS_MAX,
        advances_max: int = ADVANCES_MAX,
        flag_rows_max: int = FLAG_ROWS_MAX,
        probe_hours_max: int = PROBE_HOURS_MAX,
        pulls_max: int = PULLS_MAX,
    ) -> None:
        """Drop the oldest of what has a bound. The audit, and upgrades that failed, are kept for ever.

        An upgrade that failed may be tried again, and then must not get the operation id that it had.
        """
        with self.transaction():
            self._run(
                "DELETE FROM upgrades WHERE final = 1 AND operation NOT IN"
                " (SELECT operation FROM rollback_records) AND rowid NOT IN"
                " (SELECT rowid FROM upgrades WHERE final = 1 ORDER BY created_at DESC, rowid DESC LIMIT ?)",
                (upgrades_max,),
            )
            self._run("DELETE FROM steps WHERE operation NOT IN (SELECT operation FROM upgrades)")
            self.forget_permits(kept_max=permits_max)
            self.forget_flags(kept_max=flag_rows_max)
            self.forget_probed(hours_max=probe_hours_max)
            self.forget_pulls(kept_max=pulls_max)
            self._run("DELETE FROM advances WHERE id <= (SELECT max(id) FROM advances) - ?", (advances_max,))
            self._run("DELETE FROM threads WHERE operation NOT IN (SELECT operation FROM upgrades)")
            self._run(
                "DELETE FROM health_status WHERE id <= (SELECT max(id) FROM health_status) - ?",
                (transitions_max,),
            )
            self._run(
                "UPDATE outbox SET done_at = ?, error = 'given up: too many wait' WHERE done_at IS NULL"
                " AND id NOT IN (SELECT id FROM outbox WHERE done_at IS NULL ORDER BY id DESC LIMIT ?)",
                (self._stamp(), pending_max),
            )
            self._run(
                "DELETE FROM outbox WHERE done_at IS NOT NULL AND id NOT IN"
                " (SELECT id FROM outbox WHERE done_at IS NOT NULL ORDER BY id DESC LIMIT ?)",
                (done_max,),
            )
