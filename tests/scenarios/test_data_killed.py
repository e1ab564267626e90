"""The daemon is killed, as by kill -9, around every step that works on data; then started again."""

from __future__ import annotations

import itertools
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.cli.graph import settings_from, store_of
from tests.daemon_process import daemon, run_once
from tests.drivers.services import Mode
from tests.ledger import PROGRAM, Ledger
from tests.world import World, a_world

NUMBERS = itertools.count(1)


def around(*steps: str) -> list[str]:
    return [f"{step}:{side}" for step in steps for side in ("begun", "done")]


class Shop:
    """A world with data; every test bumps `api` to a version of its own, with migrations of its own."""

    def __init__(self, world: World) -> None:
        self.world, self.ledger = world, Ledger(world.folder / "data")

    def bump(self, name: str, *, mode: Mode = "ok", without: str = "") -> None:
        version = f"1.{next(NUMBERS)}.0"
        migrations = [
            self.ledger.migration(f"{name}_{phase}", phase, without=without) for phase in ("before", "after")
        ]
        for one in migrations:
            one["id"] = one["phase"] + name
        more = self.ledger.manifest(*migrations)
        deadline = "60s" if mode == "ok" else "3s"  # what is good arrives on a busy machine too
        self.world.bump(version, mode, files={"lib/ledger.py": PROGRAM}, more=more, deadline=deadline)
        self.ledger.calls()

    def newest(self) -> tuple[str, str]:
        """The phase and the reason of the newest upgrade."""
        with closing(store_of(settings_from(self.world.configure()))) as store:
            [newest] = store.upgrades(limit=1)
        return newest.phase.value, newest.reason

    def states(self, name: str) -> set[str]:
        with closing(store_of(settings_from(self.world.configure()))) as store:
            return {row.state for row in store.migrations("production", "api") if row.id.endswith(name)}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with a_world(tmp_path_factory.mktemp("data")) as world:
        world.more = "policy: {restore_data: {within: 10m}, revert: push}\n"
        world.deploy_first("1.0.0")
        assert run_once(world)[0] == 0
        yield Shop(world)


def killed_and_started_again(shop: Shop, failpoint: str) -> None:
    assert run_once(shop.world, failpoint=failpoint)[0] == -signal.SIGKILL
    run_once(shop.world)


SAVING = around("backup", "backup-verify")


@pytest.mark.crash
@pytest.mark.parametrize("without", ["", "check"])
@pytest.mark.parametrize(
    "failpoint", [*SAVING, *around("before:before{}", "check:before{}", "after:after{}", "apply")]
)
def test_every_migration_is_applied_once(shop: Shop, failpoint: str, without: str) -> None:
    if without and failpoint.startswith("check"):
        without = "down"
    name = f"g{next(NUMBERS)}"
    shop.bump(name, without=without)
    killed_and_started_again(shop, failpoint.format(name))
    assert shop.newest()[0] == "succeeded"
    calls = shop.ledger.calls()
    assert [calls.count(f"up {name}_{phase}") for phase in ("before", "after")] == [1, 1]
    assert {f"{name}_before", f"{name}_after"} <= set(shop.ledger.tables())
    assert shop.states(name) == {"done"}
    assert not list((shop.world.state / "errands").rglob("*.json"))


@pytest.mark.crash
@pytest.mark.parametrize(
    "failpoint", around("stop", "undo:after{}", "check:after{}", "undo:before{}", "restore")
)
def test_every_migration_is_undone_once(shop: Shop, failpoint: str) -> None:
    name, tables, reverts = f"b{next(NUMBERS)}", shop.ledger.tables(), len(shop.world.reverts())
    shop.bump(name, mode="unhealthy")
    killed_and_started_again(shop, failpoint.format(name))
    assert shop.newest()[0] == "reverted"
    calls = shop.ledger.calls()
    assert [calls.count(f"down {name}_{phase}") for phase in ("after", "before")] == [1, 1]
    assert shop.ledger.tables() == tables
    assert len(shop.world.reverts()) == reverts + 1


@pytest.mark.crash
@pytest.mark.parametrize("failpoint", around("rescue", "restore-data"))
def test_a_backup_comes_back_whole(shop: Shop, failpoint: str) -> None:
    name, tables = f"r{next(NUMBERS)}", shop.ledger.tables()
    shop.bump(name, mode="unhealthy", without="down")
    killed_and_started_again(shop, failpoint)
    assert shop.newest()[0] == "reverted"
    assert shop.ledger.tables() == tables
    assert shop.states(name) == {"undone"}
    with closing(sqlite3.connect(shop.ledger.folder / "orders.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.fault("CR-03")
def test_a_migration_outlives_the_daemon_and_is_never_run_beside_itself(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        world.deploy_first("1.0.0")
        assert run_once(world)[0] == 0
        shop = Shop(world)
        shop.ledger.mood("up", "x_before", "hang")
        shop.bump("x", without="check")
        with daemon(world) as running:
            running.until(lambda: shop.ledger.called("up x_before"))
            running.kill()
        shop.ledger.better()
        code, log = run_once(world)
        assert code == 0, log
        assert shop.newest()[0] == "succeeded"
        assert shop.ledger.calls().count("up x_before") == 1
        assert world.answers() == world.pinned().partition('api: "')[2].partition('"')[0]
