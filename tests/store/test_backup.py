"""Copies of the database: whole, private, made in the middle of writing, and never at the cost of an older one."""

from __future__ import annotations

import os
import resource
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.model.errors import HostError
from reconciler.store import Store, backup
from reconciler.store.opening import open_state
from tests.store.builders import HandClock, bump

ROOT = Path(__file__).parents[2]


@pytest.fixture
def state(tmp_path: Path, clock: HandClock) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    with closing(open_state(folder, now=clock.now)) as store:
        store.record(bump(), event="planned")
    return folder


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.fault("DB-10")
def test_a_copy_taken_under_heavy_writing_holds_all_that_was_durable_when_it_began(tmp_path: Path) -> None:
    path, to = tmp_path / "ugs.db", tmp_path / "copy.db"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.store.writer", str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as writer:
        assert writer.stdout is not None
        try:
            acknowledged = {writer.stdout.readline().strip() for _ in range(50)}
            made = backup.create(path, to, now=now)
        finally:
            writer.kill()
        written = len(acknowledged) + len(writer.stdout.read().split())
    assert 50 <= made.rows <= written + 1
    assert stat.S_IMODE(to.stat().st_mode) == 0o600
    assert sorted(file.name for file in tmp_path.glob("copy*")) == ["copy.db"]
    with closing(Store(to, now=now, read_only=True)) as copy:
        assert acknowledged <= {upgrade.operation for upgrade in copy.upgrades(limit=10**6)}


def test_a_copy_is_never_written_over_a_file(state: Path, tmp_path: Path, clock: HandClock) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(HostError, match="is there already"):
        backup.create(state / "ugs.db", taken, now=clock.now)
    assert taken.read_text() == "mine"
    with pytest.raises(HostError, match="No such file"):
        backup.create(state / "ugs.db", tmp_path / "nowhere" / "copy.db", now=clock.now)


@pytest.mark.fault("DB-11")
def test_a_copy_that_fails_leaves_nothing_and_takes_no_older_one_away(state: Path, clock: HandClock) -> None:
    """The kernel lets no file grow beyond 8 KiB, in a process of its own, which ignores the signal for that."""
    for _ in range(backup.KEPT_MAX + 2):
        assert backup.daily(state, now=clock.now)
        assert backup.daily(state, now=clock.now) is None, "one a day"
        clock.move(86_400)
    kept = sorted(path.name for path in (state / "copies").iterdir())
    assert len(kept) == backup.KEPT_MAX
    assert kept[-1] == "ugs-20261130T100000Z.db"

    script = (
        "import sys; from datetime import datetime, UTC; from pathlib import Path\n"
        "from reconciler.model.errors import HostError; from reconciler.store import backup\n"
        "try: backup.daily(Path(sys.argv[1]), now=lambda: datetime(2027, 1, 1, tzinfo=UTC))\n"
        "except HostError as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-B", "-c", script, str(state)],  # else what it compiles is cut short, and stays so
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)),
    ).stdout
    assert ".part: " in said
    assert sorted(path.name for path in (state / "copies").iterdir()) == kept
    clock.move(86_400)
    assert backup.daily(state, now=clock.now), "the next one is made"


@pytest.mark.fault("DB-11")
@pytest.mark.parametrize("harm", ["cut short", "flipped", "no database", "another database", "audit"])
def test_a_copy_that_is_not_as_it_was_written_is_refused_and_changes_nothing(
    state: Path, tmp_path: Path, clock: HandClock, harm: str
) -> None:
    copy = tmp_path / "copy.db"
    backup.create(state / "ugs.db", copy, now=clock.now)
    content = bytearray(copy.read_bytes())
    match harm:
        case "cut short":
            copy.write_bytes(content[: len(content) // 2])
        case "flipped":
            content[-4096:] = b"\xff" * 4096
            copy.write_bytes(content)
        case "no database":
            copy.write_bytes(b"some other file " * 1000)
        case "another database":
            copy.unlink()
            with closing(sqlite3.connect(copy)) as another:
                another.execute("CREATE TABLE songs (title)")
        case "audit":
            with closing(sqlite3.connect(copy)) as forger:
                forger.execute("DROP TRIGGER maintenance_logs_no_update")
                forger.execute("UPDATE maintenance_logs SET detail = 'nothing happened'")
                forger.commit()
    before = (state / "ugs.db").read_bytes()
    with pytest.raises(HostError, match=str(copy)):
        backup.verify(copy, now=clock.now)
    with pytest.raises(HostError, match=str(copy)):
        backup.restore(copy, state, now=clock.now, actor="ada")
    assert (state / "ugs.db").read_bytes() == before


def test_a_restored_copy_is_in_safe_mode_and_what_it_replaced_is_kept(
    state: Path, tmp_path: Path, clock: HandClock
) -> None:
    copy = tmp_path / "copy.db"
    made = backup.create(state / "ugs.db", copy, now=clock.now)
    assert made == backup.verify(copy, now=clock.now)
    with closing(open_state(state, now=clock.now)) as store:
        store.audit("afterwards")
    os.truncate(state / "ugs.db", 1000)
    kept = backup.restore(copy, state, now=clock.now, actor="ada")
    assert kept is not None
    assert kept.stat().st_size == 1000
    with closing(open_state(state, now=clock.now)) as store:
        [recovery] = store.recoveries().values()
        assert recovery.reason.startswith("a backup was restored by ada")
        assert store.upgrades() == [bump()]
        assert store.verify_audit() is None
    for file in state.glob("ugs.db*"):
        file.unlink()
    assert backup.restore(copy, state, now=clock.now, actor="ada") is None
