"""Answers that were given under an `Idempotency-Key`: who asks again gets the same, and nothing is done twice."""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct

from reconciler.store.audit import Audit
from reconciler.store.values import text_of

KEPT = timedelta(hours=24)
KEPT_MAX = 10_000
"""Of all callers together: the oldest go first."""
OF_ONE_MAX = 1_000
"""Of one caller: nobody pushes out the others'."""


class GivenAnswer(Struct, frozen=True):
    """`status`: None while it is being worked out, or where the daemon ended meanwhile."""

    request: str
    status: int | None
    body: str


class Answers(Audit):
    def begin_answer(self, caller: str, key: str, request: str) -> GivenAnswer | None:
        """What was given under this key; None where nothing was, and from now on this request is."""
        with self.transaction():
            self._run("DELETE FROM answers WHERE at < ?", (text_of(self._now() - KEPT),))
            row = self._one("SELECT * FROM answers WHERE caller = ? AND key = ?", (caller, key))
            if row is not None:
                return GivenAnswer(row["request"], row["status"], row["body"])
            self._run(
                "DELETE FROM answers WHERE caller = :caller AND rowid NOT IN (SELECT rowid FROM answers"
                " WHERE caller = :caller ORDER BY at DESC, rowid DESC LIMIT :most)",
                {"caller": caller, "most": OF_ONE_MAX - 1},
            )
            self._run(
                "DELETE FROM answers WHERE rowid NOT IN"
                " (SELECT rowid FROM answers ORDER BY at DESC, rowid DESC LIMIT ?)",
                (KEPT_MAX - 1,),
            )
            self._run(
                "INSERT INTO answers VALUES (?, ?, ?, NULL, '', ?)", (caller, key, request, self._stamp())
            )
        return None

    def end_answer(self, caller: str, key: str, status: int, body: str) -> None:
        """This is what was answered."""
        with self.transaction():
            self._run(
                "UPDATE answers SET status = ?, body = ? WHERE caller = ? AND key = ?",
                (status, body, caller, key),
            )

    def forget_answer(self, caller: str, key: str) -> None:
        """It came to nothing, and may be tried again."""
        with self.transaction():
            self._run("DELETE FROM answers WHERE caller = ? AND key = ?", (caller, key))
