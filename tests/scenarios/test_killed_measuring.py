"""Killed while a release is compared with the one before it, or taken back for what it did later."""

from __future__ import annotations

import signal

import pytest

from tests.daemon_process import daemon, run_once
from tests.scenarios.test_performance import LATENCY, delayed
from tests.scenarios.test_relapse import relapsing
from tests.world import World

SIGKILLED = -signal.SIGKILL
PATIENCE_S = 180.0

pytestmark = pytest.mark.crash


def settled(world: World) -> None:
    """Everything is as its pins say."""
    code, log = run_once(world)
    assert code == 0, log


@pytest.mark.parametrize(
    "failpoint", ["phase:applying", "apply:done", "phase:verifying", "phase:restoring", "push:done"]
)
def test_a_slower_release_goes_back_whenever_the_daemon_dies(world: World, failpoint: str) -> None:
    world.release("1.0.0", run=delayed(0.05), deadline="30s")
    world.pin("1.0.0")
    world.merge()
    settled(world)
    world.bump("1.1.0", run=delayed(0.15), probe=LATENCY)
    assert run_once(world, failpoint=failpoint)[0] == SIGKILLED
    assert run_once(world)[0] == 1
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"
    assert len(world.reverts()) == 1
    newest = world.newest()
    assert newest
    assert newest.baseline
    assert newest.baseline.version == "1.0.0"


@pytest.mark.parametrize("failpoint", ["phase:restoring", "restore:done", "push:done", "phase:reverted"])
def test_what_degraded_later_goes_back_once_whenever_the_daemon_dies(world: World, failpoint: str) -> None:
    ill = world.folder / "ill"
    world.release("1.0.0", deadline="30s")
    world.pin("1.0.0")
    world.merge()
    settled(world)
    world.bump("1.1.0", deadline="30s", **relapsing(ill))
    settled(world)
    ill.touch()
    with daemon(world, environment={"UGS_FAILPOINT": failpoint}) as running:
        running.patience_s = PATIENCE_S
        assert running.process.wait(PATIENCE_S) == SIGKILLED, running.log()
    with daemon(world) as running:
        running.patience_s = PATIENCE_S
        running.until_runs("1.0.0")
    assert world.phases() == ["succeeded", "succeeded", "reverted"]
    assert world.answers() == "1.0.0"
    assert len(world.reverts()) == 1
