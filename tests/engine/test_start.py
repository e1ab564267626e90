"""Starting now what the gates allow, and what only a person starts."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.engine.people import Conflict
from reconciler.engine.start import GatesClosed, Started, WantedOverride, execute
from reconciler.model.upgrade import Phase
from tests.world import World

BY_HAND = "timezone: UTC\nwindows: {major: manual}\n"
FROZEN = "timezone: UTC\nfreezes: [{from: 2020-01-01, until: 2199-12-31, reason: later, except: [initial]}]\n"


async def asked(world: World, passing: WantedOverride | None = None) -> Started:
    """Ask as the API does, while passes go on as the daemon makes them."""
    passes = asyncio.create_task(_passing(world))
    try:
        return await execute(
            world.fleet, "production", "api", actor="ada", reason="it is time", passing=passing
        )
    finally:
        passes.cancel()


async def _passing(world: World) -> None:
    here = world.fleet.passes["production"]
    while True:
        await here.wake.wait()
        here.wake.clear()
        await here.once()


async def waiting(world: World, more: str) -> None:
    world.more = more
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("2.0.0")
    await world.settle()
    assert world.phases()[-1] == "waiting"
    world.fleet.passes["production"].wake.clear()


async def test_what_only_a_person_starts_waits_for_him_and_then_runs(world: World) -> None:
    await waiting(world, BY_HAND)
    started = await asked(world)
    assert started.operation
    await world.settle()
    upgrade = world.newest()
    assert upgrade is not None
    assert (upgrade.operation, upgrade.phase) == (started.operation, Phase.SUCCEEDED)
    assert world.answers() == "2.0.0"
    assert "start-asked api" in world.events()


async def test_a_start_is_for_the_one_change_that_was_planned(world: World) -> None:
    await waiting(world, BY_HAND)
    await asked(world)
    await world.settle()
    world.bump("3.0.0")
    await world.settle()
    assert world.phases()[-1] == "waiting"
    assert world.answers() == "2.0.0"


@pytest.mark.fault("AP-08")
async def test_fifty_who_ask_at_once_start_one_operation(world: World) -> None:
    await waiting(world, BY_HAND)
    passes = asyncio.create_task(_passing(world))
    answers = await asyncio.gather(
        *(execute(world.fleet, "production", "api", actor="ada", reason="") for _ in range(50))
    )
    passes.cancel()
    await world.settle()
    assert len({one.operation for one in answers}) == 1
    assert [one.to.version.text for one in world.upgrades() if one.to] == ["2.0.0", "1.0.0"]


async def test_other_closed_gates_refuse_it_with_what_opens_them(world: World) -> None:
    await waiting(world, FROZEN)
    with pytest.raises(GatesClosed, match="frozen") as caught:
        await asked(world)
    assert "freeze" in {gate["gate"] for gate in caught.value.more["gates"] if not gate["open"]}
    assert caught.value.remedy
    assert world.answers() == "1.0.0"


async def test_nobody_opens_a_hold_by_starting(world: World) -> None:
    from reconciler.engine.permits import hold, in_force, release_hold

    await waiting(world, BY_HAND)
    made = hold(world.fleet, "production", "api", actor="eve", reason="wait")
    with pytest.raises(GatesClosed, match="held by eve"):
        await asked(world)
    assert in_force(world.fleet, None).starts == ()
    release_hold(world.fleet, made.id, actor="eve")
    await world.settle()
    assert world.answers() == "1.0.0", "nobody has started it since"


async def test_an_override_lets_it_start_at_once(world: World) -> None:
    await waiting(world, FROZEN)
    started = await asked(world, WantedOverride("freeze", for_="1h"))
    assert started.operation
    await world.settle()
    assert world.answers() == "2.0.0"
    assert "overridden api" in world.events()


async def test_where_nothing_is_planned_nothing_starts(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    with pytest.raises(Conflict, match="nothing is planned for api"):
        await asked(world)
