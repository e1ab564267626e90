"""A wall clock that somebody sets: lengths of time stay what they are, and nothing starts on a doubtful one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from reconciler.engine import permits
from tests.world import World

SETTINGS = [timedelta(hours=1), timedelta(hours=-1), timedelta(days=3_650)]


@pytest.mark.fault("TM-01")
@pytest.mark.parametrize("by", SETTINGS, ids=str)
async def test_a_deadline_is_a_length_of_time_whatever_the_clock_is_set_to(
    world: World, by: timedelta
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", soak="300ms", deadline="9s")
    own = world.driver.endpoints

    def endpoints(*arguments: Any) -> Any:
        """Asked for once the time of the verification runs."""
        world.driver.endpoints = own
        world.clock.set_by(by)
        return own(*arguments)

    world.at["phase:verifying"] = lambda: setattr(world.driver, "endpoints", endpoints)
    await world.settle()
    assert world.driver.endpoints is own
    assert world.phases() == ["succeeded", "succeeded"]
    assert world.answers() == "1.1.0"


@pytest.mark.fault("TM-01")
@pytest.mark.parametrize("by", SETTINGS, ids=str)
async def test_nothing_starts_after_the_clock_was_set_before_the_next_fetch(
    world: World, by: timedelta, caplog: pytest.LogCaptureFixture
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    await world.fleet.refresh()
    world.clock.set_by(by)
    await world.a_pass()
    assert {upgrade.phase.value for upgrade in world.upgrades()} == {"succeeded", "waiting"}
    assert "since the clock was set" in world.view().sentence
    assert world.events().count("clock-set") == 1
    assert "the clock was set by" in caplog.text

    await world.settle()
    assert world.answers() == "1.1.0"


@pytest.mark.fault("TM-10")
async def test_the_order_of_commits_is_that_of_the_graph_whatever_their_dates(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.ada.pull_if_any()
    for version, date in (("1.1.0", "2099-01-01T00:00:00Z"), ("1.2.0", "1999-01-01T00:00:00Z")):
        world.release(version)
        world.pin(version)
        last = world.commit(f"Bump to {version}", GIT_COMMITTER_DATE=date, GIT_AUTHOR_DATE=date)
    world.ada.push()
    await world.settle()
    newest = world.newest()
    assert newest is not None
    assert (newest.revision, newest.phase.value) == (last, "succeeded")
    assert world.answers() == "1.2.0"


@pytest.mark.fault("TM-01")
async def test_no_approval_is_extended_by_a_clock_that_is_set_forward(world: World) -> None:
    world.more = "policy: {approvals: {minor: 1}}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    hold = permits.hold(world.fleet, "production", None, actor="ada", reason="look first")
    await world.settle()
    await permits.approve(world.fleet, "production", "api", actor="bob", lasting="1h")
    world.clock.set_by(timedelta(hours=2))
    permits.release_hold(world.fleet, hold.id, actor="ada")
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]
    assert "not counted: bob (expired)" in world.view().sentence
