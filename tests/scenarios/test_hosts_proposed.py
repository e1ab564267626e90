"""Several machines whose branch people merge into: what failed goes no further, and goes back once that is merged."""

from __future__ import annotations

import pytest

from tests.git.colleague import git
from tests.scenarios.hosts import PROBE, hosts
from tests.world import World

pytestmark = pytest.mark.slow


def test_what_fails_on_one_host_is_proposed_back_and_all_go_back_once_it_is_merged(world: World) -> None:
    with hosts(world, "h1", "h2") as two:
        world.more += "policy: {revert: pull-request}\n"
        two.start()
        world.bump("1.0.0", deadline="60s")
        two.until_all_run("1.0.0")
        two["h2"].ill()
        world.bump("1.1.0", probe=PROBE, soak="1s", deadline="60s")
        two.until(lambda: two.reached("1.1.0") == "left")
        branch = f"ugs-revert-{two.rollout()['operation']}"
        assert git(world.remote, "for-each-ref", f"refs/heads/{branch}")
        assert world.reverts() == []

        world.ada.pull_if_any()
        world.ada.git("fetch", "--quiet", "origin", branch)
        world.ada.git("merge", "--quiet", "--no-ff", "-m", "Merge the revert", "FETCH_HEAD")
        world.ada.push()
        two.until_all_run("1.0.0")
        two.until(lambda: f"the branch {branch} is merged" in two.logs())
