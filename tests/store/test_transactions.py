"""All or nothing: nested, on a full disk, on a disk that fails, and when the process is killed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.model.errors import HostError
from reconciler.model.upgrade import Upgrade
from reconciler.store import NOTE, SLACK, Damaged, Store
from tests.store.builders import START, HandClock, bump, notice, work

ROOT = Path(__file__).parents[2]


class PowerCut(Exception):
    pass


def test_record_quarantine_and_audit_are_one_transaction(store: Store) -> None:
    def cut_short(upgrade: Upgrade) -> None:
        with store.transaction():
            store.quarantine(upgrade, reason="the probe failed")
            store.record(upgrade, event="restoring", notices=[notice(operation=upgrade.operation)])
            raise PowerCut

    with pytest.raises(PowerCut):
        cut_short(bump())
    assert store.upgrades() == []
    assert store.quarantined("production") == []
    assert store.audit_rows(limit=10) == []
    assert store.pending(SLACK) == 0

    with store.transaction():
        store.quarantine(bump(), reason="the probe failed")
        store.record(bump(), event="restoring")
    assert [row.event for row in store.audit_rows(limit=10)] == ["restoring", "quarantined"]


def test_a_nested_failure_that_is_caught_undoes_only_its_own_part(store: Store) -> None:
    def inner() -> None:
        with store.transaction():
            store.mark("inner", "2")
            raise PowerCut

    with store.transaction():
        store.mark("outer", "1")
        with pytest.raises(PowerCut):
            inner()
        store.mark("after", "3")
    assert store.marks("") == {"outer": "1", "after": "3"}


@pytest.mark.fault("DB-01")
def test_a_full_disk_loses_the_whole_move_and_says_so(store: Store) -> None:
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(HostError, match=r"ugs\.db: database or disk is full; free space"):
        store.record(bump(), event="planned", detail="x" * 4_000, notices=[notice("y" * 10_000)])
    store._connection.execute("PRAGMA max_page_count = 100000")
    assert store.upgrades() == []
    store.record(bump(), event="planned")
    assert store.verify_audit() is None


def test_a_full_disk_that_is_caught_inside_cannot_leak_writes_past_the_transaction(store: Store) -> None:
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")

    def careless() -> None:
        with store.transaction():
            store.mark("first", "1")
            with pytest.raises(HostError, match="full"):
                store.mark("big", "x" * 100_000)
            store.mark("last", "3")

    with pytest.raises(RuntimeError, match="an earlier error ended this transaction"):
        careless()
    assert store.marks("") == {}


def test_nothing_is_accepted_after_a_write_that_failed(path: Path) -> None:
    """The kernel refuses to let the file grow, in a process of its own: the store calls itself damaged."""
    script = (
        "import resource, sys; from pathlib import Path; from datetime import datetime, UTC;"
        "from reconciler.store import Damaged, Store\n"
        "store = Store(Path(sys.argv[1]), now=lambda: datetime.now(UTC))\n"
        "store.mark('before', '1')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))\n"
        "for attempt in 'ab':\n"
        "    try: store.mark('during', attempt * 50_000)\n"
        "    except Damaged as damaged: print(damaged)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "store.close()\n"
    )
    said = subprocess.run(
        [sys.executable, "-B", "-c", script, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.splitlines()
    assert len(said) == 2
    assert "disk I/O error; check the disk, then start the daemon again" in said[0]
    assert said[1] == said[0]
    with closing(Store(path, now=lambda: START)) as store:
        assert store.marks("") == {"before": "1"}


@pytest.mark.fault("DB-05")
def test_every_transaction_takes_the_write_lock_at_once(path: Path, clock: HandClock) -> None:
    begun: list[str] = []
    with closing(Store(path, now=clock.now)) as store:
        store._connection.set_trace_callback(lambda sql: begun.append(sql) if "BEGIN" in sql else None)
        store.record(bump(), event="planned", notices=[notice()])
        store.quarantine(bump(), reason="it fell")
        store.prune()
        store.take_slot("workers", "one", 1)
        store.mark("a", "b")  # one statement: it takes the lock by itself
    assert len(begun) == 4
    assert set(begun) == {"BEGIN IMMEDIATE"}


@pytest.mark.fault("OP-03")
def test_a_journal_of_the_next_version_is_read_and_one_of_the_last_has_defaults(store: Store) -> None:
    store.record(bump(), event="planned")
    store._connection.execute("UPDATE upgrades SET value = json_set(value, '$.colour', 'red')")
    assert store.upgrades() == [bump()]
    for added in ("goal", "needs_person", "aborted", "tries"):  # as an older version wrote it
        store._connection.execute("UPDATE upgrades SET value = json_remove(value, ?)", (f"$.{added}",))
    assert store.upgrades() == [bump()]


def test_what_cannot_be_read_back_is_damage_that_names_the_file(store: Store) -> None:
    store.record(bump(), event="planned")
    store._connection.execute("UPDATE upgrades SET value = '{}'")
    with pytest.raises(Damaged, match=r"ugs\.db: .* a stored Upgrade cannot be read"):
        store.upgrades()


@pytest.mark.parametrize("acknowledged_min", [1, 40])
def test_every_acknowledged_row_survives_kill_9(path: Path, clock: HandClock, acknowledged_min: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.store.writer", str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(acknowledged_min)]
        writer.kill()
        acknowledged += writer.stdout.read().split()
    with closing(Store(path, now=clock.now)) as store:
        kept = {upgrade.operation for upgrade in store.upgrades(limit=1_000_000)}
        assert set(acknowledged) <= kept
        assert all(store.steps(operation) for operation in acknowledged)
        assert store.verify_audit() is None
        assert (
            len(store.audit_rows(limit=1_000_000)) == store.pending(SLACK) == store.pending(NOTE) == len(kept)
        )
        store.deployed(work(), revision="b" * 40)
