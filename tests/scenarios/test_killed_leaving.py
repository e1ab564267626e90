"""Killed, as by kill -9, while a service is removed or an environment renamed; then started again."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import pytest

from reconciler.cli.graph import settings_from, store_of
from reconciler.model.upgrade import Upgrade
from tests.daemon_process import run_once
from tests.drivers.services import wait_until
from tests.fleet_repository import ENVIRONMENT_FILE
from tests.world import World

REMOVAL = ("phase:preparing", "phase:applying", "remove:begun", "remove:done", "phase:succeeded")
RENAME = ("rename:begun", "rename:done", "rename:recorded")
SIGKILLED = -signal.SIGKILL


def recorded(world: World, environment: str, service: str = "api") -> list[Upgrade]:
    store = store_of(settings_from(world.configure()))
    try:
        assert store.verify_audit() is None
        return store.upgrades(environment=environment, service=service)
    finally:
        store.close()


def start(world: World) -> tuple[str, str]:
    world.more = "policy: {prune: true}\n"
    world.deploy_first("1.0.0", "api", "web")
    assert run_once(world)[0] == 0
    wait_until(lambda: world.answers() and world.answers("web"))
    return world.pid(), world.pid("web")


@pytest.mark.crash
@pytest.mark.parametrize("failpoint", REMOVAL)
def test_a_removal_arrives_once(world: World, failpoint: str) -> None:
    pid, web = start(world)
    world.pin(None)
    world.merge("Remove api")
    assert run_once(world, failpoint=failpoint)[0] == SIGKILLED
    if REMOVAL.index(failpoint) < REMOVAL.index("remove:done"):
        assert world.pid() == pid
    assert run_once(world)[0] == 0
    assert world.answers() == ""
    assert world.pid("web") == web
    assert [upgrade.phase.value for upgrade in recorded(world, "production")] == ["succeeded", "succeeded"]


@pytest.mark.crash
@pytest.mark.parametrize("failpoint", RENAME)
def test_a_rename_is_whole_after_the_next_start(world: World, failpoint: str) -> None:
    pids = start(world)
    text = world.environment().replace("production\n", "staging\nrenamed_from: production\n", 1)
    world.files |= {ENVIRONMENT_FILE: None, "environments/staging.yaml": text}
    world.merge("Name it staging")
    assert run_once(world, failpoint=failpoint)[0] == SIGKILLED
    assert run_once(world)[0] == 0
    assert run_once(world)[0] == 0
    assert (world.pid(), world.pid("web")) == pids
    assert recorded(world, "production") == []
    assert [upgrade.phase.value for upgrade in recorded(world, "staging")] == ["succeeded"]
    assert Path(world.state / "services/staging").readlink() == Path("production")


@pytest.mark.crash
@pytest.mark.parametrize("failpoint", ["phase:waiting"])
def test_an_environment_that_is_gone_is_known_to_be_after_a_kill(world: World, failpoint: str) -> None:
    pids = start(world)
    world.files[ENVIRONMENT_FILE] = None
    world.merge("Clean up")
    assert run_once(world, failpoint=failpoint)[0] == SIGKILLED
    run_once(world)
    assert (world.pid(), world.pid("web")) == pids
    assert recorded(world, "production")[0].reason.startswith("the repository has no environment production")


async def test_every_failpoint_that_a_removal_and_a_rename_pass_is_a_case_above(world: World) -> None:
    world.more = "policy: {prune: true}\n"
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    world.forget()
    passed: list[str] = []
    world._core = dataclasses.replace(world.core, failpoint=passed.append)
    await world.fleet.start()
    world.pin(None)
    world.merge("Remove api")
    await world.settle()
    assert tuple(passed) == REMOVAL
    passed.clear()
    text = world.environment().replace("production\n", "staging\nrenamed_from: production\n", 1)
    world.files |= {ENVIRONMENT_FILE: None, "environments/staging.yaml": text}
    world.merge("Name it staging")
    await world.settle()
    assert tuple(passed) == RENAME
