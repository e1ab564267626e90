"""Deciding about many changes: what starts after others had the loop is looked at by what is so then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from msgspec.structs import replace

from reconciler.engine import paced, permits
from reconciler.model.upgrade import Phase
from tests.fleet_repository import ENVIRONMENT_FILE
from tests.world import World


@pytest.fixture
def in_pauses(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], bool]]]:
    """After each change others have the loop: what they do then, until it is done, which each says."""
    acts: list[Callable[[], bool]] = []
    sleep = world.clock.sleep

    async def slept(duration_s: float) -> None:
        acts[:] = [act for act in acts if not act()]
        await sleep(duration_s)

    monkeypatch.setattr(paced, "HOLD_S", 0.0)
    monkeypatch.setattr(world.clock, "sleep", slept)
    yield acts
    assert not acts


async def moved(world: World) -> None:
    """One commit pins api and web anew."""
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    for service in ("api", "web"):
        world.release("1.1.0", service=service)
        world.pin("1.1.0", service)
    world.merge("Bump both")
    await world.fleet.refresh()


def once_api_runs(world: World, act: Callable[[], object]) -> Callable[[], bool]:
    def acted() -> bool:
        begun = "api" in world.fleet.passes["production"].running
        if begun:
            act()
        return begun

    return acted


async def test_a_gate_that_closed_in_a_pause_keeps_the_next_from_starting(
    world: World, in_pauses: list[Callable[[], bool]]
) -> None:
    await moved(world)
    store = world.core.store
    held = partial(store.hold, "production", "web", reason="look", owner="Ada", until=None)
    in_pauses.append(once_api_runs(world, held))
    await world.a_pass()
    assert world.phases("api")[-1] == "preparing"
    newest = world.newest("web")
    assert newest is not None
    assert (newest.phase, newest.reason) == (Phase.WAITING, "held by Ada: look")
    await world.rest()


async def test_what_is_no_longer_in_force_after_a_pause_starts_nothing_more(
    world: World, in_pauses: list[Callable[[], bool]]
) -> None:
    await moved(world)
    desired = world.core.desired

    def withdrawn() -> None:
        here = desired["production"]
        desired["production"] = replace(here, workloads={"api": here.workloads["api"]})

    in_pauses.append(once_api_runs(world, withdrawn))
    await world.a_pass()
    assert world.phases("api")[-1] == "preparing"
    assert world.phases("web") == ["succeeded"]
    await world.rest()


async def test_what_was_under_way_in_a_pause_is_planned_anew_first(
    world: World, in_pauses: list[Callable[[], bool]]
) -> None:
    await moved(world)
    here = world.fleet.passes["production"]

    def taken() -> None:
        here.running["web"] = here.running["api"]

    in_pauses.append(once_api_runs(world, taken))
    await world.a_pass()
    assert world.phases("web") == ["succeeded"]
    del here.running["web"]
    await world.settle()
    assert world.phases("web")[-1] == "succeeded"
    assert world.answers("web") == "1.1.0"


async def test_what_ended_in_a_pause_is_not_put_on_record_as_waiting_again(
    world: World, in_pauses: list[Callable[[], bool]]
) -> None:
    await moved(world)
    core = world.core
    core.store.hold("production", None, reason="look", owner="Ada", until=None)
    await world.a_pass()
    core.store.hold("production", None, reason="look twice", owner="Bob", until=None)

    def cancelled() -> bool:
        api, web = world.newest("api"), world.newest("web")
        assert api
        assert web
        if told := "look twice" in api.reason:
            core.move(web, Phase.CANCELLED, "nobody wants it")
        return told

    in_pauses.append(cancelled)
    await world.a_pass()
    assert world.phases("web")[-1] == "cancelled"


async def test_what_is_let_go_in_a_pause_is_not_started_again_by_what_was_seen_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    world.files[ENVIRONMENT_FILE] = None
    world.merge("Clean up")
    await world.settle()
    await permits.approve(world.fleet, "production", "api", actor="ada")
    world.stop()  # a reboot, of which the next pass learns as it lets api go
    sleep = world.clock.sleep

    async def slept(duration_s: float) -> None:
        if "api" in world.fleet.passes["production"].running:
            await world.until(Phase.SUCCEEDED)
        await sleep(duration_s)

    monkeypatch.setattr(paced, "HOLD_S", 0.0)
    monkeypatch.setattr(world.clock, "sleep", slept)
    await world.settle()
    assert [change.change_class for change in world.upgrades()] == ["removal", "initial"]
    assert "repair api" not in world.events()
    assert world.answers() == ""
    assert world.answers("web") == "1.0.0"
