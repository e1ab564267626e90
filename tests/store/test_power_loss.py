"""A power cut at any instant, and a disk that says no: what was acknowledged is there, and nothing is between."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.store import Store
from tests.store.builders import HandClock
from tests.store.power import ROOT, Disk, Event, recorded

pytestmark = pytest.mark.slow

TRANSACTIONS = 60


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Event]]:
    """A database at rest, and all that was then written to it, to the checkpoint at the end."""
    path = tmp_path_factory.mktemp("power") / "ugs.db"
    Store(path, now=HandClock().now).close()
    return path.read_bytes(), recorded(path, TRANSACTIONS)


def test_the_record_has_what_a_power_cut_can_tear(history: tuple[bytes, list[Event]]) -> None:
    kinds = [(event.kind, event.name) for event in history[1]]
    assert kinds.count(("said", "")) == TRANSACTIONS
    assert kinds.count(("sync", "ugs.db-wal")) >= 2 * TRANSACTIONS, "each transaction is synced"
    assert ("write", "ugs.db") in kinds, "the checkpoint is in it"


@pytest.mark.fault("CR-16")
@pytest.mark.parametrize(
    "cuts", [pytest.param(60), pytest.param(2_000, marks=pytest.mark.crash)], ids=["some", "many"]
)
def test_every_acknowledged_row_is_there_and_every_move_whole(
    history: tuple[bytes, list[Event]], tmp_path: Path, clock: HandClock, cuts: int
) -> None:
    before, events = history
    chance = random.Random(16)
    checkpoint = next(number for number, event in enumerate(events) if event.name == "ugs.db")
    chosen = sorted(chance.choices(range(len(events)), k=cuts) + list(range(checkpoint, len(events), 7)))
    disk, seen = Disk({"ugs.db": bytearray(before)}), 0
    for number in chosen:
        for event in events[seen:number]:
            disk.see(event)
        seen = number
        for file in tmp_path.iterdir():
            file.unlink()
        for name, content in disk.after_the_cut(chance).items():
            (tmp_path / name).write_bytes(content)
        with closing(Store(tmp_path / "ugs.db", now=clock.now)) as store:
            kept = {upgrade.operation for upgrade in store.upgrades(limit=10_000)}
            assert set(disk.acknowledged) <= kept, f"cut after system call {number}"
            assert all(store.steps(operation) for operation in disk.acknowledged)
            assert store.verify_audit() is None
            assert len(store.audit_rows(limit=10_000)) == len(kept)


def test_a_disk_that_forgets_what_it_synced_would_be_noticed(
    history: tuple[bytes, list[Event]], tmp_path: Path, clock: HandClock
) -> None:
    """The test above can fail: without the syncs, acknowledged rows are lost."""
    before, events = history
    disk = Disk({"ugs.db": bytearray(before)})
    for event in events[: len(events) // 2]:
        if event.kind != "sync":
            disk.see(event)
    disk.pending.clear()
    for name, content in disk.durable.items():
        (tmp_path / name).write_bytes(content)
    with closing(Store(tmp_path / "ugs.db", now=clock.now)) as store:
        assert not set(disk.acknowledged) <= {upgrade.operation for upgrade in store.upgrades(limit=10_000)}


@pytest.mark.fault("DB-03")
def test_a_sync_that_fails_ends_the_writer_and_loses_nothing_acknowledged(
    tmp_path: Path, clock: HandClock
) -> None:
    path = tmp_path / "ugs.db"
    Store(path, now=clock.now).close()
    done = subprocess.run(
        [
            *("strace", "-f", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO:when=30"),
            *(sys.executable, "-m", "tests.store.writer", path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Damaged" in done.stderr.splitlines()[-1]
    assert "check the disk, then start the daemon again" in done.stderr.splitlines()[-1]
    acknowledged = set(done.stdout.split())
    assert len(acknowledged) > 5
    with closing(Store(path, now=clock.now)) as store:
        assert acknowledged <= {upgrade.operation for upgrade in store.upgrades(limit=10_000)}
        assert store.verify_audit() is None
