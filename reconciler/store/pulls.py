"""Pull requests that UGS keeps: one row for each that it ever opened, and how it stands."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.model import codec
from reconciler.model.pulls import Kept, Kind
from reconciler.store.audit import Audit
from reconciler.store.values import text_of

RECENT_MAX = 1_000
"""No more than this may be opened in an hour, whatever ugs.yaml says."""


class Pulls(Audit):
    def keep_pull(self, kept: Kept) -> Kept:
        """How it stands from now on; with its id, where it had none."""
        with self.transaction():
            if not kept.id:
                newest = self._one("SELECT max(id) AS id FROM pulls")
                kept = replace(kept, id=(newest["id"] or 0) + 1 if newest else 1)
            self._run(
                "INSERT OR REPLACE INTO pulls VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    kept.id,
                    kept.kind,
                    kept.branch,
                    kept.environment,
                    kept.state,
                    text_of(kept.opened_at),
                    codec.encode(kept).decode(),
                ),
            )
        return kept

    def pulls(self, kind: Kind) -> list[Kept]:
        """All of a kind that are known, oldest first."""
        rows = self._all("SELECT value FROM pulls WHERE kind = ? ORDER BY id", (kind,))
        return [self._value(row["value"], Kept) for row in rows]

    def recent_pulls(self, kind: Kind) -> list[Kept]:
        """Those that are open, and the newest RECENT_MAX, oldest first."""
        rows = self._all(
            "SELECT value FROM pulls WHERE kind = :kind AND (state = 'open' OR id IN"
            " (SELECT id FROM pulls WHERE kind = :kind ORDER BY id DESC LIMIT :limit)) ORDER BY id",
            {"kind": kind, "limit": RECENT_MAX},
        )
        return [self._value(row["value"], Kept) for row in rows]

    def pulls_of(self, environment: str) -> list[Kept]:
        """Those that are open for one environment, oldest first."""
        rows = self._all(
            "SELECT value FROM pulls WHERE environment = ? AND state = 'open' ORDER BY id", (environment,)
        )
        return [self._value(row["value"], Kept) for row in rows]

    def open_pulls(self) -> dict[tuple[str, str], int]:
        """By environment and kind: how many are open, or about to be."""
        rows = self._all(
            "SELECT environment, kind, count(*) AS count FROM pulls WHERE state = 'open' GROUP BY environment, kind"
        )
        return {(row["environment"], row["kind"]): row["count"] for row in rows}

    def forget_pulls(self, *, kept_max: int) -> None:
        """Drop the oldest of those that ended, beyond so many."""
        self._run(
            "DELETE FROM pulls WHERE state != 'open' AND id NOT IN"
            " (SELECT id FROM pulls WHERE state != 'open' ORDER BY id DESC LIMIT ?)",
            (kept_max,),
        )
