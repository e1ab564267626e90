"""An environment on several machines, a daemon on each: who moves when, and what one failure does to all."""

from __future__ import annotations

import pytest

from tests.scenarios.hosts import PROBE, hosts
from tests.world import World

pytestmark = pytest.mark.slow


def test_every_host_runs_all_and_a_healthy_release_reaches_each(world: World) -> None:
    with hosts(world, "h1", "h2", "h3") as three:
        world.deploy_first("1.0.0")
        for host in three.all:
            host.start()
        three.until_all_run("1.0.0")
        three.until(lambda: three.reached("1.0.0") == "succeeded")
        world.bump("1.1.0")
        three.until_all_run("1.1.0")
        three.until(lambda: three.reached("1.1.0") == "succeeded")
        assert three.rollout()["from"]["version"] == "1.0.0"
        assert world.reverts() == []


def test_one_of_three_fails_and_all_go_back_by_one_revert(world: World) -> None:
    with hosts(world, "h1", "h2", "h3") as three:
        world.deploy_first("1.0.0")
        for host in three.all:
            host.start()
        three.until_all_run("1.0.0")
        three["h2"].ill()
        world.bump("1.1.0", probe=PROBE, soak="1s", deadline="20s")
        three.until(lambda: three.reached("1.1.0") == "reverted")
        three.until_all_run("1.0.0")
        assert world.reverts() == [world.tip()]
        assert three.report("h2")["outcome"] == "failed"
        three.until(
            lambda: all(
                "1.1.0 failed" in host.running.log() or "quarantined" in host.running.log()
                for host in three.all
            )
        )
