"""Killed, as by kill -9, at every point where something has just been decided or done; then started again."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from _pytest.mark.structures import ParameterSet
from click.testing import CliRunner

from reconciler.cli import cli
from reconciler.cli.graph import settings_from, site_of, store_of
from reconciler.drivers import DRIVERS
from reconciler.model.upgrade import Upgrade
from reconciler.store.opening import open_state
from tests.daemon_process import run_once
from tests.drivers.services import Mode, wait_until
from tests.git.colleague import git
from tests.world import World, a_world

TOUCHING_NOTHING = (
    "phase:preparing",
    "artifact:begun",
    "artifact:done",
    "restorable:begun",
    "restorable:done",
    "preflight:begun",
    "preflight:done",
    "phase:applying",
    "apply:begun",
)
GOOD = (
    *TOUCHING_NOTHING,
    "apply:done",
    "phase:verifying",
    "settle:begun",
    "settle:done",
    "tidy:begun",
    "tidy:done",
    "phase:succeeded",
)
BAD = (
    *TOUCHING_NOTHING,
    "apply:done",
    "phase:verifying",
    "phase:restoring",
    "restore:begun",
    "restore:done",
    "phase:reverting",
    "push:begun",
    "push:done",
    "phase:reverted",
)
EACH_TIME = ("phase:applying", "apply:done", "push:begun", "push:done")
"""These in `make test`, every one in `make crash`."""
NUMBERS = itertools.count(1)
SIGKILLED = -signal.SIGKILL


def marked(failpoints: tuple[str, ...]) -> list[ParameterSet]:
    return [
        pytest.param(name, marks=() if name in EACH_TIME else (pytest.mark.crash,)) for name in failpoints
    ]


@pytest.fixture(autouse=True)
def _unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is killed writes no coverage: measuring these daemons would only cost time."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two services that run; every test bumps one of them, from wherever it stands, to a version of its own."""
    with a_world(tmp_path_factory.mktemp("killed")) as world:
        world.deploy_first("1.0.0", "api", "web")
        assert run_once(world)[0] == 0
        yield world


@dataclasses.dataclass(frozen=True)
class Before:
    """How things stood before the bump."""

    version: str
    api: str
    web: str
    tip: str
    text: str
    operations: frozenset[str]


def before(world: World) -> Before:
    return Before(
        version=world.answers(),
        api=world.pid(),
        web=world.pid("web"),
        tip=world.tip(),
        text=world.pinned(),
        operations=frozenset(upgrade.operation for upgrade in recorded(world)),
    )


def bump(world: World, mode: Mode) -> tuple[str, str]:
    """A new version of api, pinned and pushed: the version, and the commit."""
    version = f"1.{next(NUMBERS)}.0"
    return version, world.bump(version, mode)


def recorded(world: World) -> list[Upgrade]:
    with closing(store_of(settings_from(world.configure()))) as store:
        return store.upgrades(environment="production")


def running(world: World, service: str) -> list[str]:
    """The version of every instance that really runs."""
    site = site_of(settings_from(world.configure()))
    return [str(i.target.version) for i in DRIVERS["process"].observe(site, "production")[service].instances]


def answering(world: World) -> str:
    """The process that answers for api, even if it has only just been started."""
    wait_until(world.answers)
    return world.pid()


def reverts_since(world: World, tip: str) -> list[str]:
    """The operation that each newer commit on the remote's branch names in its trailer."""
    form = "--format=%(trailers:key=Ugs-Operation,valueonly)"
    return git(world.remote, "log", form, f"{tip}..main").split()


def check_whole(world: World, was: Before) -> Upgrade:
    """What must hold after whatever was killed: the one upgrade that came of the bump."""
    config = str(world.configure())
    [upgrade] = [upgrade for upgrade in recorded(world) if upgrade.operation not in was.operations]
    assert upgrade.service == "api"
    assert upgrade.final
    assert world.pid("web") == was.web
    assert running(world, "web") == ["1.0.0"]
    audited = CliRunner().invoke(cli, ["audit", "verify", "--config", config])
    assert (audited.exit_code, audited.output) == (0, "the audit log is whole\n")
    with closing(sqlite3.connect(world.state / "ugs.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        [unfinished] = database.execute("SELECT count(*) FROM steps WHERE ended_at IS NULL").fetchone()
    assert unfinished == 0 or upgrade.phase == "reverted"
    return upgrade


def check_note(world: World, commit: str, upgrade: Upgrade) -> None:
    """Git says how it ended, once."""
    [line] = [json.loads(line) for line in world.notes(commit).splitlines() if line]
    assert (line["operation"], line["outcome"]) == (upgrade.operation, upgrade.phase.value)


@pytest.mark.fault("CR-01", "CR-02", "CR-04", "CR-05")
@pytest.mark.parametrize("failpoint", marked(GOOD))
def test_a_good_bump_arrives_once(fleet: World, failpoint: str) -> None:
    was = before(fleet)
    version, commit = bump(fleet, "ok")
    assert run_once(fleet, failpoint=failpoint)[0] == SIGKILLED
    touched = failpoint not in TOUCHING_NOTHING
    after_the_kill = answering(fleet)
    assert touched or after_the_kill == was.api
    assert fleet.pid("web") == was.web

    assert run_once(fleet)[0] == 0

    upgrade = check_whole(fleet, was)
    assert upgrade.phase == "succeeded"
    assert running(fleet, "api") == [version]
    assert fleet.answers() == version
    assert not touched or fleet.pid() == after_the_kill
    assert fleet.tip() == commit
    check_note(fleet, commit, upgrade)


@pytest.mark.fault("CR-06", "CR-07", "CR-08", "CR-09")
@pytest.mark.parametrize("failpoint", marked(BAD))
def test_a_bad_bump_is_taken_back_and_reverted_once(fleet: World, failpoint: str) -> None:
    was = before(fleet)
    _, commit = bump(fleet, "unhealthy")
    assert run_once(fleet, failpoint=failpoint)[0] == SIGKILLED
    restored = BAD.index(failpoint) >= BAD.index("restore:done")
    after_the_kill = answering(fleet)
    assert failpoint not in TOUCHING_NOTHING or after_the_kill == was.api
    assert fleet.pid("web") == was.web

    run_once(fleet)

    upgrade = check_whole(fleet, was)
    assert upgrade.phase == "reverted"
    assert upgrade.revert_commit == fleet.tip()
    assert running(fleet, "api") == [was.version]
    assert fleet.answers() == was.version
    assert not restored or fleet.pid() == after_the_kill
    assert reverts_since(fleet, was.tip) == [upgrade.operation]
    assert fleet.pinned() == was.text
    check_note(fleet, commit, upgrade)


@pytest.mark.parametrize(("mode", "cases"), [("ok", GOOD), ("unhealthy", BAD)])
async def test_every_failpoint_that_a_bump_passes_is_a_case_above(
    world: World, mode: Mode, cases: tuple[str, ...]
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.forget()
    passed: list[str] = []
    world._core = dataclasses.replace(world.core, failpoint=passed.append)
    world.bump("1.1.0", mode)
    await world.settle()
    assert tuple(passed) == cases


def phases(world: World) -> list[str]:
    """How every upgrade stands, oldest first."""
    return [upgrade.phase.value for upgrade in reversed(recorded(world))]


def killed_and_started_again(world: World, failpoint: str) -> None:
    assert run_once(world, failpoint=failpoint)[0] == SIGKILLED
    run_once(world)


@pytest.mark.crash
@pytest.mark.fault("CR-02")
def test_what_waits_goes_on_waiting_until_nobody_asks_for_it(world: World) -> None:
    world.more = (
        "timezone: UTC\nfreezes: [{from: 2020-01-01, until: 2199-12-31, reason: x, except: [initial]}]\n"
    )
    world.deploy_first("1.0.0")
    run_once(world)
    pid = answering(world)
    world.bump("2.0.0")
    killed_and_started_again(world, "phase:waiting")
    assert phases(world) == ["succeeded", "waiting"]
    world.bump("3.0.0")
    killed_and_started_again(world, "phase:superseded")
    assert phases(world) == ["succeeded", "superseded", "waiting"]
    world.pin("1.0.0")
    world.merge("Never mind")
    killed_and_started_again(world, "phase:cancelled")
    assert phases(world) == ["succeeded", "superseded", "cancelled"]
    assert world.pid() == pid


def held(world: World, reason: str | None) -> None:
    """Ada holds everything; with None nobody does any longer."""
    with closing(open_state(world.state, now=world.clock.now)) as store:
        if reason:
            store.hold("production", None, reason=reason, owner="ada", until=None)
        else:
            store.release_hold(store.permits("production").holds[0].id, by="ada")


@pytest.mark.fault("CR-02")
@pytest.mark.parametrize("failpoint", marked(("phase:preparing", "phase:applying")))
def test_what_has_touched_nothing_asks_the_gates_again(world: World, failpoint: str) -> None:
    world.deploy_first("1.0.0")
    run_once(world)
    pid = answering(world)
    world.bump("1.1.0")
    assert run_once(world, failpoint=failpoint)[0] == SIGKILLED
    held(world, "look first")
    run_once(world)
    assert phases(world) == ["succeeded", "waiting"]
    assert recorded(world)[0].reason == "held by ada: look first"
    assert world.pid() == pid

    held(world, None)
    run_once(world)
    assert phases(world) == ["succeeded", "succeeded"]
    assert world.answers() == "1.1.0"


@pytest.mark.fault("CR-02")
def test_what_has_begun_to_be_applied_goes_on_whatever_closed_meanwhile(world: World) -> None:
    world.deploy_first("1.0.0")
    run_once(world)
    world.bump("1.1.0")
    assert run_once(world, failpoint="apply:begun")[0] == SIGKILLED
    held(world, "look first")
    run_once(world)
    assert phases(world) == ["succeeded", "succeeded"]
    assert answering(world)
    assert world.answers() == "1.1.0"


def test_what_is_not_to_be_reverted_is_not_reverted_later_either(world: World) -> None:
    world.more = "policy: {revert: off}\n"
    world.deploy_first("1.0.0")
    run_once(world)
    commit = world.bump("1.1.0", "unhealthy")
    assert run_once(world, failpoint="phase:restored")[0] == SIGKILLED
    pid = answering(world)
    run_once(world)
    assert phases(world) == ["succeeded", "restored"]
    assert world.tip() == commit
    assert (world.answers(), world.pid()) == ("1.0.0", pid)


@pytest.mark.parametrize("failpoint", marked(("apply:done", "restore:done", "push:done", "phase:reverted")))
def test_a_bad_first_deployment_leaves_neither_process_nor_pin(world: World, failpoint: str) -> None:
    world.bump("1.0.0", "unhealthy")
    killed_and_started_again(world, failpoint)
    assert phases(world) == ["reverted"]
    assert world.reverts() == [world.tip()]
    assert "api" not in world.pinned()
    assert world.answers() == ""
