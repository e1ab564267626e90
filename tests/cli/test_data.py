"""`ugs backup list` and `ugs migrations`, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from reconciler.cli import cli
from reconciler.model.data import Recorded, Saved
from reconciler.model.errors import UgsError
from reconciler.store import Store
from tests.daemon_process import configured, daemon
from tests.world import World, a_world

AT = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)


def recorded(name: str, state: Any) -> Recorded:
    return Recorded("production", "api", name, "1.1.0", "0123456789abcdef", state, AT, "exit code 7\nmore")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A daemon that remembers a backup, a migration that is applied, and one of which nobody knows."""
    with a_world(tmp_path_factory.mktemp("data")) as world:
        _remember(world)
        world.merge("Nothing is pinned")
        with daemon(world, config=configured(world)) as running:
            running.until_serving()
            running.until(lambda: running.status()["environments"])
            yield world.folder / "ugs.yaml"


def _remember(world: World) -> None:
    world.state.mkdir()
    saved = Saved(
        id="0123456789abcdef-1",
        environment="production",
        service="api",
        operation="0123456789abcdef",
        kind="upgrade",
        version="1.0.0",
        path="/var/lib/ugs/backups/x/data",
        state="verified",
        saved_at=AT,
        verified_at=AT,
        size_bytes=4096,
        sha256="0" * 64,
    )
    with closing(Store(world.state / "ugs.db", now=lambda: AT)) as store:
        store.saved(saved)
        store.migrated(recorded("grow", "done"))
        store.migrated(recorded("shrink", "unknown"))
        assert store.backups("production", "api") == [saved]
        assert store.backups("production", "web") == []
        store.drop_backup(saved, "to put it back")
        store.saved(saved)


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--config", str(config)], catch_exceptions=False)


def test_backups_are_listed(config: Path) -> None:
    header, row = run(config, "backup", "list").output.splitlines()
    assert header.split() == ["saved", "environment", "service", "of", "kind", "state", "bytes", "path"]
    assert row.split()[2:] == [
        *("production", "api", "1.0.0", "upgrade", "verified", "4096", "/var/lib/ugs/backups/x/data")
    ]
    [told] = json.loads(run(config, "backup", "list", "production", "api", "--json").output)["backups"]
    assert (told["id"], told["saved_at"]) == ("0123456789abcdef-1", "2026-11-03T12:00:00Z")
    assert json.loads(run(config, "backup", "list", "staging", "--json").output) == {"backups": []}


def test_migrations_are_listed_and_what_nobody_knows_is_settled(config: Path) -> None:
    header, *rows = run(config, "migrations", "list").output.splitlines()
    assert header.split() == ["environment", "service", "migration", "of", "state", "since", "evidence"]
    assert [row.split()[2:5] for row in rows] == [["grow", "1.1.0", "done"], ["shrink", "1.1.0", "unknown"]]
    assert rows[0].endswith("exit code 7")

    settle = ("migrations", "settle", "production", "api")
    with pytest.raises(UgsError, match="migration grow is done; see `ugs migrations list`"):
        run(config, *settle, "grow", "--absent", "--reason", "x")
    shown = run(config, *settle, "shrink", "--absent", "--reason", "looked").output
    assert shown == "production: api: migration shrink is undone\n"
    rows = json.loads(run(config, "migrations", "list", "production", "--json").output)["migrations"]
    assert {row["id"]: row["state"] for row in rows} == {"grow": "done", "shrink": "undone"}
    assert rows[1]["evidence"].endswith("says so: looked")
    audit = run(config, "audit", "log").output
    assert "migration-undone" in audit


def test_settling_needs_to_be_told_which_and_why(config: Path) -> None:
    told = run(config, "migrations", "settle", "production", "api", "shrink", "--reason", "x")
    assert (told.exit_code, "Missing option '--applied'" in told.output) == (2, True)
