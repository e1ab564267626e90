"""Flags as they were in force: what Git said at which commit, remembered so that it stays in force."""

from __future__ import annotations

import sqlite3

from reconciler.model import codec
from reconciler.model.standing import Standing
from reconciler.store.audit import Audit
from reconciler.store.rows import FlagRow
from reconciler.store.values import bounded, time_of


class FlagRecords(Audit):
    def flags(self, environment: str) -> dict[str, FlagRow]:
        """By name: every flag that is in force there."""
        rows = self._all(
            "SELECT * FROM feature_flags WHERE environment = ? AND id IN"
            " (SELECT max(id) FROM feature_flags WHERE environment = ? GROUP BY flag) ORDER BY flag",
            (environment, environment),
        )
        return {row["flag"]: self._flag(row) for row in rows if row["standing"] is not None}

    def flag_environments(self) -> list[str]:
        """Where any flag ever was in force."""
        return [
            row["environment"]
            for row in self._all("SELECT DISTINCT environment FROM feature_flags ORDER BY environment", ())
        ]

    def keep_flag(
        self, environment: str, flag: str, standing: Standing | None, *, revision: str, author: str
    ) -> None:
        """From now on the flag stands so; None: nothing needs it any more."""
        value = codec.encode(standing).decode() if standing else None
        with self.transaction():
            self._run(
                "INSERT INTO feature_flags (environment, flag, revision, author, since, standing)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (environment, flag, revision, bounded(author), self._stamp(), value),
            )

    def flag_history(self, environment: str | None, flag: str | None, *, limit: int) -> list[FlagRow]:
        """How flags came to stand as they do, the newest first, at most `limit`."""
        rows = self._all(
            "SELECT * FROM feature_flags WHERE (:environment IS NULL OR environment = :environment)"
            " AND (:flag IS NULL OR flag = :flag) ORDER BY id DESC LIMIT :limit",
            {"environment": environment, "flag": flag, "limit": limit},
        )
        return [self._flag(row) for row in rows]

    def forget_flags(self, *, kept_max: int) -> None:
        """Drop the oldest rows; what is in force stays."""
        with self.transaction():
            self._run(
                "DELETE FROM feature_flags WHERE id <= (SELECT max(id) FROM feature_flags) - ? AND id NOT IN"
                " (SELECT max(id) FROM feature_flags GROUP BY environment, flag)",
                (kept_max,),
            )

    def _flag(self, row: sqlite3.Row) -> FlagRow:
        standing = row["standing"]
        return FlagRow(
            environment=row["environment"],
            flag=row["flag"],
            revision=row["revision"],
            author=row["author"],
            since=time_of(row["since"]),
            standing=self._value(standing, Standing) if standing is not None else None,
        )
