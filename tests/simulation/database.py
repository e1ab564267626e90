"""The real store on SQLite in memory, which outlives every simulated daemon as a disk would."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from reconciler.model.upgrade import Upgrade
from reconciler.store import Store, schema
from reconciler.store.values import decoded
from tests.simulation.faults import Weather

FAULTS = {
    "disk-full": (sqlite3.SQLITE_FULL, "database or disk is full"),
    "database-locked": (sqlite3.SQLITE_BUSY, "database is locked"),
    "disk-broken": (sqlite3.SQLITE_IOERR, "disk I/O error"),
}


PAGE_BYTES = 1024
"""Whole pages are copied to be able to take a write back: small ones are sooner copied."""


@lru_cache(maxsize=1)
def template() -> sqlite3.Connection:
    """An empty database with today's schema, to be copied."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    schema.migrate(connection, Path("simulated.db"))
    return connection


class Disk:
    """What was committed. `moved` hears of each commit: the upgrades and audit rows that it wrote."""

    def __init__(self) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None)
        template().backup(self.raw)
        self.raw.row_factory = sqlite3.Row
        self.moved: Callable[[list[Upgrade], list[Mapping[str, Any]]], None] = lambda _upgrades, _rows: None

    def all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """A question of the invariants."""
        return self.raw.execute(sql, values).fetchall()


class Connection:
    """One daemon's connection: it fails as the weather says, and tells what a commit brought."""

    def __init__(self, disk: Disk, weather: Weather, kill: Callable[[str], None]) -> None:
        self._disk, self._raw, self._weather, self._kill = disk, disk.raw, weather, kill
        self._is_sound = not any(fault.name in FAULTS for fault in weather.drawn)
        """Whether no fault of this seed strikes it: it is asked at every statement."""
        self._upgrades: list[Upgrade] = []
        self._rows: list[Mapping[str, Any]] = []
        self._marks: list[tuple[int, int]] = []
        self._special: dict[str, Callable[[], object]] = {
            "BEGIN IMMEDIATE": lambda: self._fail("database-locked", "disk-broken"),
            "SAVEPOINT nested": lambda: self._marks.append((len(self._upgrades), len(self._rows))),
            "RELEASE nested": self._release,
            "ROLLBACK TO nested": self._undo,
            "ROLLBACK": self._forget,
        }
        if self._raw.in_transaction:
            self._raw.execute("ROLLBACK")  # what a killed daemon had not committed

    @property
    def in_transaction(self) -> bool:
        return self._raw.in_transaction

    def close(self) -> None: ...

    @property
    def total_changes(self) -> int:
        return self._raw.total_changes

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        if sql.startswith("SELECT "):
            return self._raw.execute(sql, values)
        if special := self._special.get(sql):
            special()
        elif sql == "COMMIT":
            return self._commit(sql)
        elif not self._raw.in_transaction:  # a transaction of its own
            self._fail("database-locked", "disk-broken")
            return self._commit(sql, values)
        elif sql.startswith("INSERT INTO upgrades"):
            self._upgrades.append(decoded(values["value"], Upgrade))
        elif sql.startswith("INSERT INTO maintenance_logs"):
            self._rows.append(values)
        return self._raw.execute(sql, values)

    def _release(self) -> None:
        self._marks.pop()

    def _undo(self) -> None:
        upgrades, rows = self._marks[-1]
        del self._upgrades[upgrades:], self._rows[rows:]

    def _commit(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        self._kill("before a commit")
        self._fail("disk-full", "disk-broken")
        done = self._raw.execute(sql, values)
        upgrades, rows = self._upgrades, self._rows
        self._forget()
        if upgrades or rows:
            self._disk.moved(upgrades, rows)
        self._kill("after a commit")
        return done

    def _forget(self) -> None:
        self._upgrades, self._rows, self._marks = [], [], []

    def _fail(self, *faults: str) -> None:
        if self._is_sound:
            return
        for fault in faults:
            if self._weather.strikes(fault):
                code, message = FAULTS[fault]
                if self._raw.in_transaction:  # as SQLite itself does
                    self._raw.execute("ROLLBACK")
                    self._forget()
                error = sqlite3.OperationalError(message)
                error.sqlite_errorcode = code
                raise error


class SimulatedStore(Store):
    """The store over what a former daemon left."""

    def __init__(self, connection: Connection, *, now: Callable[[], datetime], witness: Any = None) -> None:
        self._given = connection
        super().__init__(Path("simulated.db"), now=now, witness=witness)

    def _connect(self, *, read_only: bool) -> Any:
        return self._given

    def _prepare(self, *, read_only: bool) -> None:
        """The schema is today's, and memory needs no sync."""

    def _version(self) -> int:
        """Nobody else has this database."""
        return 0
