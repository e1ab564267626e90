"""Opening the file: what is made, what is refused, and what each refusal says."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.model.errors import HostError, TransientError
from reconciler.store import SLACK, Damaged, Store, schema
from reconciler.store import connection as connecting
from reconciler.store.connection import make_private
from reconciler.store.values import text_of
from tests.store.builders import HandClock, bump


@pytest.mark.fault("OP-02")
def test_a_new_store_is_private_durable_and_empty(path: Path, store: Store) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert store._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert store._connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert store.upgrades() == []
    assert stat.S_IMODE(path.with_name("ugs.db-wal").stat().st_mode) == 0o600


@pytest.mark.fault("OP-02")
def test_a_file_that_others_could_read_is_closed_to_them(path: Path, clock: HandClock) -> None:
    path.touch(mode=0o644)
    Store(path, now=clock.now).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_written_is_there_after_opening_again(path: Path, clock: HandClock) -> None:
    with closing(Store(path, now=clock.now)) as store:
        store.record(bump(), event="planned")
    with closing(Store(path, now=clock.now)) as store:
        assert store.upgrades() == [bump()]


def test_another_process_may_read_while_the_daemon_writes(path: Path, store: Store, clock: HandClock) -> None:
    store.record(bump(), event="planned")
    with closing(Store(path, now=clock.now, read_only=True)) as reader:
        assert reader.upgrades() == [bump()]
        with store.transaction():
            store.audit("during")
            assert reader.upgrades() == [bump()]
        with pytest.raises(HostError, match="readonly"):
            reader.audit("by the reader")


def test_reading_works_with_no_daemon_and_leaves_the_file_alone(path: Path, clock: HandClock) -> None:
    Store(path, now=clock.now).close()
    before = path.read_bytes()
    with closing(Store(path, now=clock.now, read_only=True)) as reader:
        assert reader.verify_audit() is None
    assert path.read_bytes() == before


def test_reading_what_is_not_there_says_so_and_makes_nothing(path: Path, clock: HandClock) -> None:
    with pytest.raises(HostError, match=r"ugs\.db: unable to open"):
        Store(path, now=clock.now, read_only=True)
    assert not path.exists()


def test_reading_a_file_without_our_tables_points_to_the_daemon(path: Path, clock: HandClock) -> None:
    path.touch()
    with pytest.raises(HostError, match="ugs run"):
        Store(path, now=clock.now, read_only=True)


def test_a_folder_in_place_of_the_file_is_a_host_error(path: Path, clock: HandClock) -> None:
    path.mkdir()
    with pytest.raises(HostError, match=r"ugs\.db: Is a directory; let the daemon's user"):
        Store(path, now=clock.now)


def test_a_file_that_is_no_database_is_named_with_the_remedy(path: Path, clock: HandClock) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(Damaged, match="file is not a database; start the daemon"):
        Store(path, now=clock.now)


def test_a_damaged_page_is_found_on_opening(path: Path, clock: HandClock) -> None:
    with closing(Store(path, now=clock.now)) as store:
        for number in range(50):
            store.audit("event", detail=f"{number}" * 100)
    content = bytearray(path.read_bytes())
    content[-4096:] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(Damaged, match="damaged"):
        Store(path, now=clock.now)


@pytest.mark.fault("DB-09")
def test_a_newer_schema_is_refused_and_not_touched(path: Path, clock: HandClock) -> None:
    Store(path, now=clock.now).close()
    with closing(sqlite3.connect(path)) as later:
        later.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(HostError, match=r"newer UGS \(schema 99"):
            Store(path, now=clock.now, read_only=read_only)
    assert path.read_bytes() == before


def test_a_migration_keeps_the_rows_and_leaves_a_copy_of_what_was(path: Path, clock: HandClock) -> None:
    newer = (*schema.MIGRATIONS, "ALTER TABLE marks ADD COLUMN note TEXT NOT NULL DEFAULT 'none'")
    with closing(Store(path, now=clock.now)) as store:
        store.mark("baseline", "done")
        schema.migrate(store._connection, path, newer)
        assert store._connection.execute("PRAGMA user_version").fetchone()[0] == len(newer)
        assert tuple(store._connection.execute("SELECT * FROM marks").fetchone()) == (
            "baseline",
            "done",
            "none",
        )
    copy = path.with_name(f"ugs.db.v{len(schema.MIGRATIONS)}")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(Store(copy, now=clock.now)) as old:
        assert old.marks("") == {"baseline": "done"}


def test_threads_and_what_waits_for_slack_are_kept_when_channels_come(path: Path, clock: HandClock) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        schema.migrate(connection, path, schema.MIGRATIONS[:6])
        connection.execute("INSERT INTO threads VALUES ('op', 'C1', '1.0')")
        connection.execute(
            "INSERT INTO outbox (channel, key, payload, created_at, next_at) VALUES ('slack', 'op', '{}', ?, ?)",
            (text_of(clock.now()), text_of(clock.now())),
        )
    with closing(Store(path, now=clock.now)) as store:
        assert store.thread("op", SLACK) == ("C1", "1.0")
        assert [row.key for row in store.due(SLACK, clock.now(), limit=10)] == ["op"]


def test_a_migration_that_fails_leaves_the_old_schema_whole(path: Path, clock: HandClock) -> None:
    broken = (*schema.MIGRATIONS, "ALTER TABLE marks ADD COLUMN note TEXT; INSERT INTO nowhere VALUES (1)")
    with closing(Store(path, now=clock.now)) as store:
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            schema.migrate(store._connection, path, broken)
        store.mark("still", "here")
    with closing(Store(path, now=clock.now)) as store:
        assert store.marks("") == {"still": "here"}


@pytest.mark.fault("DB-04")
def test_a_database_locked_by_another_process_is_tried_again_later(
    path: Path, store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "BUSY_TIMEOUT_S", 0.05)
    holder = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
    )
    with (
        closing(Store(path, now=clock.now)) as impatient,
        subprocess.Popen(
            [sys.executable, "-c", holder, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(TransientError, match=r"ugs\.db: locked by another process"):
            impatient.record(bump(), event="planned")
        process.communicate()
        impatient.record(bump(), event="planned")
    assert store.upgrades() == [bump()]


def test_a_file_system_that_cannot_do_wal_is_refused(path: Path) -> None:
    """In memory, SQLite answers the request for WAL with `memory`, as it may with `delete` elsewhere."""
    make_private(path)
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(HostError, match="journal mode stays 'memory'; keep the state folder on a local disk"),
    ):
        connecting.make_durable(connection, path)
