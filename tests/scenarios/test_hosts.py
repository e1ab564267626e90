"""An environment on several machines, a daemon on each: who moves when, and what one failure does to all."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.cli.client import call
from tests.git.colleague import git
from tests.scenarios.hosts import PROBE, Host, hosts
from tests.world import World

pytestmark = pytest.mark.slow


def test_every_host_runs_all_and_a_healthy_release_reaches_each(world: World) -> None:
    with hosts(world, "h1", "h2", "h3") as three:
        three.start()
        world.bump("1.0.0", deadline="60s")
        three.until_all_run("1.0.0")
        three.until(lambda: three.reached("1.0.0") == "succeeded")
        world.bump("1.1.0", deadline="60s")
        three.until_all_run("1.1.0")
        three.until(lambda: three.reached("1.1.0") == "succeeded")
        assert three.rollout()["from"]["version"] == "1.0.0"
        assert world.reverts() == []


def test_one_of_three_fails_and_all_go_back_by_one_revert(world: World) -> None:
    with hosts(world, "h1", "h2", "h3") as three:
        three.start()
        world.bump("1.0.0", deadline="60s")
        three.until_all_run("1.0.0")
        three["h2"].ill()
        world.bump("1.1.0", probe=PROBE, soak="1s", deadline="60s")
        three.until(lambda: three.reached("1.1.0") == "reverted")
        three.until_all_run("1.0.0")
        assert world.reverts() == [world.tip()]
        assert three.report("h2")["outcome"] == "failed"
        [shut] = three.published("rollout/production")["shut"]
        assert (shut["service"], shut["target"]["version"]) == ("api", "1.1.0")


def test_a_holder_that_dies_half_way_is_followed_by_another_that_reverts_once(world: World) -> None:
    with hosts(world, "h1", "h2", "h3") as three:
        three.start()
        world.bump("1.0.0", deadline="60s")
        three.until_all_run("1.0.0")
        three.until(lambda: three.reached("1.0.0") == "succeeded")
        holder = three.until_one_holds()
        ill, other = (host for host in three.all if host is not holder)
        ill.ill()
        world.bump("1.1.0", probe=PROBE, soak="4s", deadline="60s")
        three.until(lambda: three.reached("1.1.0") == "running")
        holder.kill()
        three.until(lambda: three.reached("1.1.0") == "reverted")
        assert three.rollout()["by"] != holder.name
        three.until_all_run("1.0.0", ill.name, other.name)
        holder.start()
        three.until_all_run("1.0.0")
        assert world.reverts() == [world.tip()]
        operation = three.rollout()["operation"]
        assert f"Ugs-Operation: {operation}" in git(world.remote, "log", "-1", "--format=%B", "main")


def test_trouble_of_one_hosts_own_parks_that_host_and_reverts_nothing(world: World) -> None:
    with hosts(world, "h1", "h2") as two:
        two.start()
        world.bump("1.0.0", deadline="60s")
        two.until_all_run("1.0.0")
        broken = two["h2"].state / "services" / "production" / "api" / "1.1.0"
        broken.symlink_to(world.folder / "a-disk-that-is-gone")
        world.bump("1.1.0", deadline="60s")
        two.until_all_run("1.1.0", "h1")
        two.until(lambda: two.report("h2").get("outcome") == "parked")
        assert two.reached("1.1.0") == "running"
        assert world.reverts() == []
        broken.unlink()
        two.until_all_run("1.1.0")
        two.until(lambda: two.reached("1.1.0") == "succeeded")


def test_a_host_that_is_not_listed_does_nothing_and_one_that_waits_says_when_its_turn_is(
    world: World,
) -> None:
    with hosts(world, "h1", "h2", strategy="{progressive: 7d}") as two:
        world.bump("1.0.0", deadline="60s")
        stranger = Host(world, "h9")
        two.all.append(stranger)
        two["h1"].start()
        stranger.start()
        stranger.running.until_says(
            "this machine, h9, is not one of its hosts (h1, h2), and does nothing here"
        )
        two.until(lambda: two.reached("1.0.0") == "running")
        two["h1"].running.until_serving()
        query = "/upgrade/explain?environment=production&service=api"

        def turn() -> dict[str, Any]:
            gates = call(two["h1"].state, "GET", query)["gates"]
            return next(gate for gate in gates if gate["gate"] == "rollout")

        two.until(lambda: turn()["until"])
        assert turn()["reason"].startswith("h1 is at 0.")
        assert not (stranger.state / "services").exists()
