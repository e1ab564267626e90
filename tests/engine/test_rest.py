"""What is as it should be costs a look, and nothing else; whatever calls for a pass gets one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from reconciler.engine.permits import hold
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.engine.rest import REST_S_MAX
from reconciler.model.upgrade import Phase
from tests.world import World


async def at_rest(world: World) -> EnvironmentPass:
    """1.0.0 runs as it is pinned, and the last pass found nothing to do."""
    world.accept_first = True
    world.deploy_first("1.0.0")
    await world.settle()
    here = world.fleet.passes["production"]
    here.wake.clear()
    await here.tick()
    assert await here.tick() is False
    return here


async def test_a_look_that_finds_all_as_it_was_decides_nothing_and_reads_nothing(
    world: World,
) -> None:
    here = await at_rest(world)
    asked: list[str] = []
    world.core.store._connection.set_trace_callback(asked.append)
    assert await here.tick() is False
    assert asked == []


async def test_what_stopped_meanwhile_is_seen_and_started_again(world: World) -> None:
    here = await at_rest(world)
    world.stop()
    assert await here.tick() is True
    await world.settle(refresh=False)
    await world.eventually(lambda: world.answers() == "1.0.0")


async def test_a_commit_that_moves_its_pin_wakes_it_and_another_does_not(world: World) -> None:
    here = await at_rest(world)
    world.ada.commit({"README.md": "more\n"}, "Write")
    world.ada.push()
    await world.fleet.refresh()
    assert not here.wake.is_set()
    assert await here.tick() is False
    world.release("1.1.0")
    world.pin("1.1.0")
    world.merge("Bump")
    await world.fleet.refresh()
    assert here.wake.is_set()
    here.wake.clear()
    assert await here.tick() is True
    assert here.told


async def test_what_waits_is_decided_again_and_again(world: World) -> None:
    here = await at_rest(world)
    hold(world.fleet, "production", None, actor="ada", reason="look")
    world.release("1.1.0")
    world.pin("1.1.0")
    world.merge("Bump")
    await world.settle()
    here.wake.clear()
    assert await here.tick() is True
    assert await here.tick() is True


async def test_an_environment_that_is_another_daemons_does_not_rest(world: World) -> None:
    world.leased = True
    async with world.holding():
        here = await at_rest(world)
    world.clock.move(timedelta(seconds=REST_S_MAX / 2))
    assert world.core.leases.standing("production") != "held"
    assert await here.tick() is True


async def test_what_was_left_under_way_is_not_planned_anew_while_the_lease_is_in_doubt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = await at_rest(world)
    world.release("1.1.0", soak="1h", deadline="2h")
    world.pin("1.1.0")
    world.merge("Bump")
    upgrade = await world.reach(Phase.VERIFYING)
    for task in here.tasks():  # as when its lease was lost
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    here.running.clear()
    monkeypatch.setattr(world.core.leases, "standing", lambda _environment: "unsure")
    await here.once()
    assert world.core.store.upgrade(upgrade.operation) == upgrade
    assert "api" not in here.told


async def test_now_and_then_a_pass_is_made_all_the_same(world: World) -> None:
    here = await at_rest(world)
    world.clock.move(timedelta(seconds=REST_S_MAX + 1))
    assert await here.tick() is True
