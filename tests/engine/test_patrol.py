"""Environments at rest are looked at together; one that keeps others waiting is looked at by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from reconciler.engine import patrol
from reconciler.engine.patrol import Patrol
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.engine.rest import ALONE_S
from reconciler.model.errors import HostError
from tests.world import WAIT_S, World

ENVIRONMENTS = ("first", "second", "third")


async def at_rest(world: World) -> dict[str, EnvironmentPass]:
    """Three environments, in which nothing is left to do."""
    text = "environment: {}\ndriver: {{kind: process}}\nwindows: {{patch: always}}\npins: {{}}\n"
    world.ada.commit({f"environments/{name}.yaml": text.format(name) for name in ENVIRONMENTS}, "Start")
    world.ada.push()
    await world.settle()
    passes = world.fleet.passes
    assert all(here.rest.holds() and not here.wake.is_set() for here in passes.values())
    return passes


def woken(passes: dict[str, EnvironmentPass]) -> list[str]:
    return [name for name, here in passes.items() if here.wake.is_set()]


def answering(world: World, answer: Callable[[str], Any]) -> list[tuple[str, int]]:
    """From now on the engine answers so; which environments were asked about, each with its thread."""
    asked = list[tuple[str, int]]()

    def observe(_site: object, environment: str) -> Any:
        asked.append((environment, threading.get_ident()))
        return answer(environment)

    world.driver.observe = observe
    return asked


async def test_all_that_rest_are_looked_at_by_one_thread_and_left_at_rest(world: World) -> None:
    passes = await at_rest(world)
    asked = answering(world, lambda _environment: {})
    assert await Patrol(world.fleet).round() == 3
    assert sorted(environment for environment, _ in asked) == sorted(ENVIRONMENTS)
    assert len({thread for _, thread in asked}) == 1
    assert woken(passes) == []


async def test_only_whoever_differs_is_woken(world: World) -> None:
    passes = await at_rest(world)
    answering(world, lambda environment: {"api": object()} if environment == "second" else {})
    await Patrol(world.fleet).round()
    assert woken(passes) == ["second"]


async def test_an_engine_that_does_not_answer_as_it_should_is_for_the_pass_to_tell(world: World) -> None:
    passes = await at_rest(world)

    def answer(environment: str) -> dict[str, object]:
        if environment == "first":
            raise HostError("the engine is down", "start it")
        return {}

    answering(world, answer)
    await Patrol(world.fleet).round()
    assert woken(passes) == ["first"]


async def test_an_engine_that_hangs_keeps_no_other_environment_waiting(world: World) -> None:
    passes, free = await at_rest(world), threading.Event()

    def answer(environment: str) -> dict[str, object]:
        assert environment != "first" or free.wait(WAIT_S)
        return {}

    asked = answering(world, answer)
    watch = Patrol(world.fleet)
    await watch.round()
    try:
        assert sorted({environment for environment, _ in asked}) == sorted(ENVIRONMENTS)
        assert woken(passes) == ["first"]
        assert await watch.round() == 2
    finally:
        free.set()
    world.clock.move(timedelta(seconds=ALONE_S))
    assert passes["first"].rest.together


async def test_whoever_takes_its_time_is_looked_at_alone_from_then_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = await at_rest(world)
    monkeypatch.setattr(patrol, "HUNG_S", WAIT_S)

    def answer(environment: str) -> dict[str, object]:
        if environment == "second":
            world.clock.move(timedelta(seconds=patrol.PROMPT_S * 2))
        return {}

    answering(world, answer)
    watch = Patrol(world.fleet)
    assert await watch.round() == 3
    assert [name for name, here in passes.items() if not here.rest.together] == ["second"]
    assert woken(passes) == ["second"]
    assert await watch.round() == 2


async def test_an_environment_that_became_another_daemons_is_woken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = await at_rest(world)
    monkeypatch.setattr(
        world.core.leases, "standing", lambda name: "elsewhere" if name == "third" else "held"
    )
    asked = answering(world, lambda _environment: {})
    await Patrol(world.fleet).round()
    assert woken(passes) == ["third"]
    assert "third" not in {environment for environment, _ in asked}


async def test_a_bug_of_a_driver_is_not_borne_with(world: World) -> None:
    await at_rest(world)

    def answer(_environment: str) -> dict[str, object]:
        raise ZeroDivisionError

    answering(world, answer)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(Patrol(world.fleet).round(), WAIT_S)
