"""The audit cannot be changed without it showing, at the row where it was changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.store import AuditBreak, Store
from reconciler.store.audit import seal
from tests.store.builders import START, HandClock

TRIGGERS = ("maintenance_logs_no_update", "maintenance_logs_no_delete", "maintenance_logs_no_replace")


@pytest.fixture
def audited(store: Store) -> Store:
    for number in range(1, 6):
        store.audit("event", environment="production", service="api", actor="ann", detail=f"number {number}")
    return store


@pytest.fixture
def forger(path: Path, audited: Store) -> Iterator[sqlite3.Connection]:
    """Someone with write access to the file, who takes the triggers away first."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        for trigger in TRIGGERS:
            connection.execute(f"DROP TRIGGER {trigger}")
        yield connection


def test_rows_come_newest_first_and_the_chain_holds(audited: Store) -> None:
    rows = audited.audit_rows(limit=2)
    assert [row.detail for row in rows] == ["number 5", "number 4"]
    assert rows[0].previous_hash == rows[1].hash
    assert (rows[0].at, rows[0].actor, rows[0].environment) == (START, "ann", "production")
    assert audited.verify_audit() is None


def test_an_empty_audit_is_whole(store: Store) -> None:
    assert store.verify_audit() is None


@pytest.mark.fault("DB-14")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE maintenance_logs SET detail = 'nothing happened' WHERE id = 3",
        "DELETE FROM maintenance_logs WHERE id = 3",
        "INSERT OR REPLACE INTO maintenance_logs SELECT * FROM maintenance_logs WHERE id = 3",
    ],
)
def test_the_database_itself_refuses_changes(audited: Store, statement: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        audited._connection.execute(statement)
    assert audited.verify_audit() is None


@pytest.mark.fault("DB-14")
@pytest.mark.parametrize(
    "column", ["at", "event", "environment", "service", "operation", "actor", "detail", "hash"]
)
@pytest.mark.fault("DB-14")
def test_a_changed_field_is_found_at_its_row(audited: Store, forger: sqlite3.Connection, column: str) -> None:
    forger.execute(f"UPDATE maintenance_logs SET {column} = 'forged' WHERE id = 3")
    assert audited.verify_audit() == AuditBreak(3, "the row is not what its hash was made from")


@pytest.mark.fault("DB-14")
def test_a_changed_row_with_a_new_hash_is_found_at_the_next(
    audited: Store, forger: sqlite3.Connection
) -> None:
    forger.execute("UPDATE maintenance_logs SET detail = 'nothing happened' WHERE id = 3")
    row = forger.execute("SELECT * FROM maintenance_logs WHERE id = 3").fetchone()
    forger.execute("UPDATE maintenance_logs SET hash = ? WHERE id = 3", (seal(row),))
    assert audited.verify_audit() == AuditBreak(4, "the row does not follow from the one before it")


@pytest.mark.fault("DB-14")
@pytest.mark.parametrize("missing", [1, 3, 5])
def test_a_missing_row_is_found_even_at_the_end(
    audited: Store, forger: sqlite3.Connection, missing: int
) -> None:
    forger.execute("DELETE FROM maintenance_logs WHERE id = ?", (missing,))
    assert audited.verify_audit() == AuditBreak(missing, "the row is missing")


def test_what_a_program_said_is_bounded_and_always_fits(store: Store, clock: HandClock) -> None:
    store.audit("event", actor="\udcff", detail="y" * 1_000_000)
    row = store.audit_rows(limit=1)[0]
    assert row.actor == "?"
    assert len(row.detail) == 4_000
    assert store.verify_audit() is None
