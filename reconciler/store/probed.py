"""What probes came to, hour by hour: added up by the engine, and written in batches."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from reconciler.model.probed import NONE, ProbedHour, Rollup
from reconciler.store.database import Database
from reconciler.store.values import hour_of, text_of, time_of

COUNTS = tuple(f"n{index}" for index in range(len(NONE)))
ADDED = ("samples", "failed", "doubtful", "sum_s", *COUNTS)
PLACES = ", ".join("?" * (9 + len(COUNTS)))
SUMS = ", ".join(f"{name} = {name} + excluded.{name}" for name in ADDED)
ADD = (
    f"INSERT INTO probe_hours VALUES ({PLACES}) ON CONFLICT DO UPDATE"  # noqa: S608 - names of this file alone
    f" SET {SUMS}, max_s = max(max_s, excluded.max_s)"
)


class ProbeHour(NamedTuple):
    """Which row. `hour`: its beginning."""

    environment: str
    service: str
    probe: str
    hour: datetime


class Probed(Database):
    def add_probed(self, batch: Mapping[ProbeHour, Rollup]) -> None:
        """Add these to what is known of their hours, all in one transaction."""
        with self.transaction():
            for key, one in batch.items():
                self._run(
                    ADD,
                    (
                        key.environment,
                        key.service,
                        key.probe,
                        text_of(key.hour),
                        one.samples,
                        one.failed,
                        one.doubtful,
                        one.sum_s,
                        one.max_s,
                        *one.counts,
                    ),
                    of=[(key.environment, key.service)],
                )

    def probed(self, environment: str, service: str, *, since: datetime) -> list[ProbedHour]:
        """The hours of a service from then on, by probe, the oldest first."""
        return list(
            self._known(
                "SELECT * FROM probe_hours WHERE environment = ? AND service = ? AND hour >= ?"
                " ORDER BY probe, hour",
                (environment, service, hour_of(since)),
                _hours,
                of=(environment, service),
            )
        )

    def forget_probed(self, *, hours_max: int) -> None:
        """Drop what is older than so many hours."""
        self._run(
            "DELETE FROM probe_hours WHERE hour < ?", (hour_of(self._now() - timedelta(hours=hours_max)),)
        )


def _hours(rows: list[sqlite3.Row]) -> list[ProbedHour]:
    return [
        ProbedHour(
            row["probe"],
            time_of(row["hour"]),
            Rollup(
                row["samples"],
                row["failed"],
                row["doubtful"],
                row["sum_s"],
                row["max_s"],
                tuple(row[name] for name in COUNTS),
            ),
        )
        for row in rows
    ]
