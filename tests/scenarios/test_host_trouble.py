"""Trouble that is this machine's own: nothing is blamed, a person is called once, and it goes on when mended."""

from __future__ import annotations

import shutil
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.errors import HostError, TransientError
from reconciler.model.upgrade import Phase
from tests.drivers.services import build_archive
from tests.world import World

Mend = Callable[[], object]


def port_taken(world: World) -> tuple[Mend, str]:
    thief = socket.create_server(("127.0.0.1", world.port("web")))
    world.bump("1.0.0", service="web")
    return thief.close, f"port {world.port('web')} of web is taken by"


def artifact_missing(world: World) -> tuple[Mend, str]:
    shelf = world.folder / "shelf"
    shelf.mkdir()
    path, sha256 = build_archive(world.folder / "later", "1.0.0", name="web")
    world.bump("1.0.0", service="web", url=f"file://{shelf}/web.tar.gz", sha256=sha256)
    return lambda: shutil.copy(path, shelf / "web.tar.gz"), "web.tar.gz"


def command_missing(world: World) -> tuple[Mend, str]:
    bin_folder = world.folder / "bin"
    bin_folder.mkdir()
    environment = f', environment: {{PATH: "{bin_folder}:/usr/bin:/bin"}}'
    world.bump("1.0.0", service="web", command='["start-web", "bin/web", "{port}"]', run=environment)
    return lambda: (bin_folder / "start-web").symlink_to(
        "/usr/bin/env"
    ), "there is no program 'start-web' here"


def no_permission(world: World) -> tuple[Mend, str]:
    folder = world.state / "services" / "production"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "web").write_text("in the way")  # root may write anywhere, but not make a folder of a file
    world.bump("1.0.0", service="web")
    return (folder / "web").unlink, "cannot unpack web"


@pytest.mark.parametrize("trouble", [port_taken, artifact_missing, command_missing, no_permission])
async def test_it_waits_calls_a_person_once_and_goes_on_when_mended(
    world: World, trouble: Callable[[World], tuple[Mend, str]]
) -> None:
    world.settings_more = f'artifacts: {{allow: ["file://{world.folder}/shelf/"]}}\n'
    world.deploy_first("1.0.0")
    await world.settle()
    mend, expected = trouble(world)
    try:
        await world.settle()
        assert world.phases("web") == ["waiting"]
        world.clock.move(timedelta(minutes=5))
        await world.settle()
        gate = next(gate for gate in world.view("web").gates if not gate.open)
        assert gate.gate == "host"
        assert expected in gate.reason
        assert gate.until is not None
        assert timedelta(seconds=15) < gate.until - world.clock.now() <= timedelta(seconds=20)
        newest = world.newest("web")
        assert newest is not None
        assert newest.tries == 2
        assert len([sentence for sentence in world.told() if expected in sentence]) == 1
    finally:
        mend()
    world.clock.move(timedelta(minutes=5))
    await world.settle()

    assert world.phases("web") == ["succeeded"]
    assert world.answers("web") == "1.0.0"
    assert world.reverts() == []
    assert world.answers("api") == "1.0.0"


@pytest.mark.fault("RT-10")
async def test_trouble_that_shows_only_while_applying_brings_the_old_version_back(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    own = world.driver.apply

    def apply(*arguments: object) -> None:
        own(*arguments)
        raise HostError("the disk went away", "put it back")

    world.driver.apply = apply
    world.bump("1.1.0")
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]
    assert world.answers() == "1.0.0"
    [call] = world.calls()
    assert "the disk went away; put it back" in call
    assert world.core.store.quarantined("production") == []

    world.clock.move(timedelta(minutes=5))
    await world.settle()
    assert world.calls() == [call]

    world.driver.apply = own
    world.clock.move(timedelta(minutes=5))
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    assert world.answers() == "1.1.0"
    assert world.reverts() == []


@pytest.mark.fault("DB-02")
async def test_a_disk_that_is_full_at_the_very_end_stops_no_later_upgrade(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.engine.endure.TROUBLE_S", 0.01)
    world.deploy_first("1.0.0")
    await world.settle()
    troubles = [HostError("the disk is full", "free some space")]
    own = world.core.store.health

    def health(*arguments: Any) -> bool:
        if troubles:
            raise troubles.pop()
        return own(*arguments)

    monkeypatch.setattr(world.core.store, "health", health)
    world.bump("1.1.0")
    await world.settle()
    world.bump("1.2.0")
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded", "succeeded"]
    assert "bug api" not in world.events()


@pytest.mark.fault("RT-10")
async def test_an_engine_that_says_done_and_did_nothing_is_not_believed(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.driver.apply = lambda *_arguments: None
    world.bump("1.1.0")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"
    newest = world.newest()
    assert newest is not None
    assert "it does not run" in newest.reason


async def test_a_newer_pin_does_not_inherit_the_trouble_of_the_one_before(world: World) -> None:
    world.settings_more = f'artifacts: {{allow: ["file://{world.folder}/"]}}\n'
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", url=f"file://{world.folder}/nowhere.tar.gz")
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]
    world.bump("1.2.0")
    await world.settle()
    assert world.phases() == ["succeeded", "superseded", "succeeded"]


async def test_an_engine_that_cannot_be_asked_changes_nothing_and_says_so(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    own = world.driver.observe

    def observe(*_arguments: object) -> None:
        raise HostError("/proc cannot be read", "mount it")

    world.driver.observe = observe
    world.bump("1.1.0")
    await world.settle()
    assert world.fleet.passes["production"].trouble == "/proc cannot be read; mount it"
    assert world.phases() == ["succeeded"]

    world.driver.observe = own
    await world.settle()
    assert world.fleet.passes["production"].trouble == ""
    assert world.answers() == "1.1.0"


async def test_what_the_old_version_left_behind_does_not_fail_the_new_one(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()

    def tidy(*_arguments: object) -> None:
        raise HostError("cannot tidy api: read-only", "mount the state folder writable")

    world.driver.tidy = tidy
    world.bump("1.1.0")
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    [call] = world.calls()
    assert "what the old version left could not be cleared away: cannot tidy api" in call


async def test_an_old_version_that_cannot_be_brought_back_at_once_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.engine.restore.PAUSE_S", 0.01)
    world.deploy_first("1.0.0")
    await world.settle()
    own, tries = world.driver.restore, [TransientError("the engine is busy")]

    def restore(*arguments: object, **keywords: object) -> None:
        if tries:
            raise tries.pop()
        own(*arguments, **keywords)

    world.driver.restore = restore
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"


@pytest.mark.fault("RT-07")
async def test_an_old_version_that_cannot_be_brought_back_at_all_calls_a_person(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.engine.restore.PAUSE_S", 0.01)
    world.deploy_first("1.0.0")
    await world.settle()

    def restore(*_arguments: object, **_keywords: object) -> None:
        raise HostError("no more processes", "raise the limit")

    world.driver.restore = restore
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    assert world.phases()[:2] == ["succeeded", "stuck"]
    assert any(
        "the old version could not be brought back: no more processes" in call for call in world.calls()
    )
    assert 'api: "1.0.0"' in world.pinned()
    # Its pin is reverted, so the way back is tried once more, as any change is.
    assert world.phases()[2:] == ["succeeded"]
    assert world.answers() == "1.0.0"


async def test_an_engine_that_is_away_for_long_is_waited_for_and_nothing_is_reverted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.engine.restore.PAUSE_S", 0.001)
    world.deploy_first("1.0.0")
    await world.settle()
    own_apply, own_restore, away = world.driver.apply, world.driver.restore, list(range(7))

    def apply(*arguments: object) -> None:
        raise HostError("the engine does not answer", "start it")

    def restore(*arguments: object, **keywords: object) -> None:
        if away:
            away.pop()
            raise HostError("the engine does not answer", "start it")
        own_restore(*arguments, **keywords)

    world.driver.apply, world.driver.restore = apply, restore
    world.bump("1.1.0")
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]
    assert world.answers() == "1.0.0"
    assert world.core.store.quarantined("production") == []
    assert world.reverts() == []
    assert [call for call in world.calls() if "it is tried until it can" in call] != []

    world.driver.apply = own_apply
    world.clock.move(timedelta(minutes=5))
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]


async def test_what_could_not_be_brought_back_is_not_replaced(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()
    shutil.rmtree(next((world.state / "services/production/api/1.0.0").iterdir()))
    world.driver.restorable = lambda *_arguments: "nothing complete is kept"
    world.bump("1.1.0")
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]
    assert "1.0.0 could not be brought back should this fail" in world.view().sentence
    assert world.pid() == pid


@pytest.mark.fault("RT-07")
async def test_what_is_gone_of_the_old_version_is_fetched_before_the_new_one_starts(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    shutil.rmtree(next((world.state / "services/production/api/1.0.0").iterdir()))
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"


def locked(path: Path) -> sqlite3.Connection:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


@pytest.mark.fault("DB-04")
async def test_a_locked_database_is_waited_for_and_nothing_is_lost(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.core.store._connection.execute("PRAGMA busy_timeout = 20")
    world.bump("1.1.0", "unhealthy")
    await world.reach(Phase.PREPARING)
    with closing(locked(world.core.store.path)):
        await world.eventually(lambda: "locked by another process" in caplog.text)
    world.clock.move(timedelta(minutes=1))
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"
    assert len(world.reverts()) == 1
