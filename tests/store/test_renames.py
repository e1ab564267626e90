"""What is remembered of an environment goes along when it gets another name."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from msgspec.structs import replace

from reconciler.engine.vault import OnDisk
from reconciler.model.data import Recorded, Saved
from reconciler.model.permits import Ask
from reconciler.model.proposal import Proposal
from reconciler.store import KNOWN, Store
from reconciler.store.renames import MOVED
from tests.store.builders import bump


def test_data_backups_and_safe_mode_go_along(store: Store) -> None:
    upgrade = bump()
    now, old = upgrade.created_at, upgrade.environment
    migration = Recorded(old, "api", "one", "1.0.0", upgrade.operation, "done", now, "", proven=True)
    backup = Saved(
        "b1",
        old,
        "api",
        upgrade.operation,
        "upgrade",
        "1.0.0",
        f"/x/{old}/data",
        "verified",
        now,
        now,
        1,
        "0",
    )
    store.record(upgrade, event="planned")
    store.migrated(migration)
    store.saved(backup)
    store.mark(f"{KNOWN}{old}", "seen")
    store.enter_recovery(old, "the database is not the newest")

    store.rename(old, "live")

    assert store.migrations() == [replace(migration, environment="live")]
    assert store.backups() == [replace(backup, environment="live")]
    assert list(store.recoveries()) == ["live"]
    assert list(store.marks(KNOWN)) == [f"{KNOWN}live"]
    assert not store.knows(old)


def test_reverts_that_wait_to_be_merged_and_words_that_let_start_go_along(store: Store) -> None:
    upgrade = bump()
    old = upgrade.environment
    ask = Ask(old, "api", None, "1.5.0 (aa)", ("1.5.0",), upgrade.revision)
    store.propose(Proposal(upgrade, "b" * 40, "c" * 40))
    store.start_asked(ask, by="ada", reason="now", until=store._now() + timedelta(hours=1))

    store.rename(old, "live")

    [kept] = store.proposals()
    works = [work for work in (kept.upgrade.before, kept.upgrade.after, kept.upgrade.goal) if work]
    assert {kept.upgrade.environment, *(work.environment for work in works)} == {"live"}
    [start] = store.starts("live")
    assert start.ask == replace(ask, environment="live")


def test_no_table_is_forgotten(store: Store) -> None:
    sql = (
        "SELECT m.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c"
        " WHERE m.type = 'table' AND c.name = 'environment' AND m.name NOT IN ('maintenance_logs', 'held_slots')"
    )
    tables = {row["name"] for row in store._all(sql)}
    assert {name for name in tables if not any(f" {name} " in moved for moved in MOVED)} == set()


def test_backups_are_found_under_both_names(tmp_path: Path) -> None:
    saved = tmp_path / "backups" / "production" / "api" / "data"
    saved.parent.mkdir(parents=True)
    saved.write_text("rows")
    for _ in range(2):
        OnDisk().rename(tmp_path, "production", "live")
    assert (tmp_path / "backups" / "live" / "api" / "data").read_text() == "rows"
    assert not (tmp_path / "errands").exists()
