"""Killed, as by kill -9, at every point of taking back what came together; then started again."""

from __future__ import annotations

import pytest

from tests.daemon_process import run_once
from tests.scenarios.test_killed import SIGKILLED, recorded, reverts_since, running
from tests.scenarios.test_together import pins, write
from tests.world import World

POINTS = (
    "together:decided",
    "phase:restoring",
    "restore:begun",
    "restore:done",
    "phase:reverting",
    "push:begun",
    "push:done",
    "phase:reverted",
)


@pytest.mark.crash
@pytest.mark.fault("CR-08")
@pytest.mark.parametrize("failpoint", POINTS)
def test_all_that_shares_a_fate_goes_back_once(world: World, failpoint: str) -> None:
    world.more = "policy: {atomic: true}\n"
    world.deploy_first("1.0.0", "api", "mail", "web")
    assert run_once(world)[0] == 0
    text, tip = world.pinned(), world.tip()
    write(world, "api", "unhealthy")
    write(world, "web", soak="2s")
    write(world, "mail")
    world.merge("Three at once")

    assert run_once(world, failpoint=failpoint)[0] == SIGKILLED
    run_once(world)

    newest = {row.service: row for row in reversed(recorded(world))}
    failed = newest["api"]
    assert (failed.phase, failed.failed) == ("reverted", True)
    assert all(row.final for row in recorded(world))
    for service in ("web", "mail"):
        assert not newest[service].failed
        assert newest[service].taken_with in (failed.operation, "")
        assert running(world, service) == ["1.0.0"]
    assert running(world, "api") == ["1.0.0"]
    assert reverts_since(world, tip) == [failed.operation]
    assert world.pinned() == text
    assert pins(world) == dict.fromkeys(("api", "mail", "web"), "1.0.0")
