"""What an older, lost or damaged database is told by, and how it is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.model.errors import HostError
from reconciler.store import Corrupt, Store, schema
from reconciler.store.connection import connect
from reconciler.store.opening import open_state, set_aside
from reconciler.store.rows import Head
from reconciler.store.witness import Witness
from tests.store.builders import START, HandClock, bump

ROOT = Path(__file__).parents[2]


def why(state: Path, clock: HandClock) -> str:
    """Why the next start is in safe mode; empty when it is not."""
    with closing(open_state(state, now=clock.now)) as store:
        return "; ".join(recovery.reason for recovery in store.recoveries().values())


def written(state: Path, clock: HandClock, *events: str) -> None:
    with closing(open_state(state, now=clock.now)) as store:
        for event in events:
            store.audit(event)


def test_a_first_start_and_every_one_after_it_know_their_past(tmp_path: Path, clock: HandClock) -> None:
    assert why(tmp_path, clock) == ""
    written(tmp_path, clock, "one", "two")
    assert why(tmp_path, clock) == ""
    (tmp_path / "ugs.head").unlink()
    assert why(tmp_path, clock) == "", "nothing says that anything is missing"


@pytest.mark.fault("DB-07")
def test_acknowledged_rows_that_went_with_the_wal_are_missed(tmp_path: Path, clock: HandClock) -> None:
    written(tmp_path, clock, "one")
    with closing(open_state(tmp_path, now=clock.now)) as store:
        store.audit("two")
        dead = tmp_path / "dead"  # as kill -9 leaves it: the last rows are in the WAL alone
        dead.mkdir()
        for file in ("ugs.db", "ugs.db-wal", "ugs.head"):
            shutil.copy(tmp_path / file, dead)
    whole = shutil.copytree(dead, tmp_path / "whole")
    assert why(whole, clock) == ""
    (dead / "ugs.db-wal").unlink()
    said = why(dead, clock)
    assert said.endswith("ugs.db is older than it was: its audit ends at row 1, and had 2")
    assert why(dead, clock) == said, "until a person accepts it"


@pytest.mark.fault("DB-07")
def test_a_copy_that_went_on_by_itself_is_another(tmp_path: Path, clock: HandClock) -> None:
    written(tmp_path, clock, "one")
    shutil.copytree(tmp_path, other := tmp_path.with_name("other"))
    written(tmp_path, clock, "two")
    clock.move(60)
    written(other, clock, "two", "three")
    shutil.copy(other / "ugs.db", tmp_path / "ugs.db")
    assert "is not what it was: row 2 of its audit is another" in why(tmp_path, clock)


@pytest.mark.fault("DB-06")
@pytest.mark.parametrize("harm", ["header", "page", "truncated", "value"])
def test_a_damaged_database_is_kept_and_another_begun(tmp_path: Path, clock: HandClock, harm: str) -> None:
    path = tmp_path / "ugs.db"
    with closing(open_state(tmp_path, now=clock.now)) as store:
        store.record(bump(), event="planned")
        for number in range(50):
            store.audit("event", detail=f"{number}" * 100)
        if harm == "value":
            store._connection.execute("UPDATE upgrades SET value = '{}'")
    content = bytearray(path.read_bytes())
    if harm == "header":
        content[:16] = b"another thing..."
    elif harm == "page":
        content[-4096:] = b"\xff" * 4096
    elif harm == "truncated":
        del content[len(content) // 2 :]
    path.write_bytes(content)
    said = why(tmp_path, clock)
    assert "the database is damaged" in said
    [kept] = tmp_path.glob("ugs.db.damaged-*Z")
    assert kept.read_bytes() == bytes(content)
    assert str(kept) in said


def test_what_is_set_aside_never_takes_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "ugs.db"
    for number in range(3):
        path.write_text(str(number))
        path.with_name("ugs.db-wal").write_text(f"wal {number}")
        assert set_aside(path, "damaged", START).read_text() == str(number)
    assert len(list(tmp_path.iterdir())) == 6
    path.write_text("again")
    with pytest.raises(HostError, match="writable"):
        set_aside(Path("/proc/self/status"), "damaged", START)


def test_the_head_beside_the_database_is_as_durable_as_a_row_and_never_in_the_way(
    tmp_path: Path, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    witness = Witness(tmp_path / "ugs.head")
    assert witness.read() is None
    with closing(Store(tmp_path / "ugs.db", now=clock.now, witness=witness)) as store:
        with store.transaction():
            store.audit("one")
            assert witness.read() is None
        assert witness.read() == store.head()
        store.mark("of no account", "x")
        witness.path.unlink()
        witness.path.mkdir()
        store.audit("two")
        assert "an older database might not be noticed" in caplog.text
        head = store.head()
        assert head is not None
        assert Head.parse(str(head)) == head
    for nonsense in ("", "1", "0 " + "a" * 64, "1 xyz", f"{10**30} " + "a" * 64):
        assert Head.parse(nonsense) is None


def test_what_cannot_be_mended_by_setting_it_aside_is_not(tmp_path: Path, clock: HandClock) -> None:
    (tmp_path / "ugs.db").mkdir()
    with pytest.raises(HostError) as refused:
        open_state(tmp_path, now=clock.now)
    assert not isinstance(refused.value, Corrupt)


@pytest.mark.fault("DB-08")
def test_a_migration_that_is_killed_at_any_statement_is_wholly_done_or_not_begun(tmp_path: Path) -> None:
    old, folder = tmp_path / "old.db", tmp_path / "work"
    folder.mkdir()
    with closing(connect(old, read_only=False)) as connection:
        schema.migrate(connection, old, schema.MIGRATIONS[:1])
        connection.execute("INSERT INTO marks VALUES ('kept', 'yes')")
    said = subprocess.run(
        [sys.executable, "-m", "tests.store.migrator", str(old), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    outcomes = [line.split() for line in said.splitlines()]
    newest = len(schema.MIGRATIONS)
    assert len(outcomes) > 10, "one for each statement"
    assert {tuple(outcome[2:]) for outcome in outcomes} == {("yes", "ok", str(newest))}
    versions = {outcome[0] for outcome in outcomes}
    assert versions == {str(number) for number in range(1, newest + 1)}
    assert len({(version, tables) for version, tables, *_ in outcomes}) == newest, "one schema for a version"
    with closing(connect(folder / f"{len(outcomes)}.db.v1", read_only=True)) as copy:
        assert copy.execute("PRAGMA user_version").fetchone()[0] == 1
