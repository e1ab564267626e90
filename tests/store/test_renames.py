"""What is remembered of an environment goes along when it gets another name."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from reconciler.engine.vault import OnDisk
from reconciler.model.data import Recorded, Saved
from reconciler.store import KNOWN, Store
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


def test_backups_are_found_under_both_names(tmp_path: Path) -> None:
    saved = tmp_path / "backups" / "production" / "api" / "data"
    saved.parent.mkdir(parents=True)
    saved.write_text("rows")
    for _ in range(2):
        OnDisk().rename(tmp_path, "production", "live")
    assert (tmp_path / "backups" / "live" / "api" / "data").read_text() == "rows"
    assert not (tmp_path / "errands").exists()
