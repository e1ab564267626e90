"""Something that is not ours stands where a service would be: left alone, until a person lets it be taken over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from reconciler.engine import adoption
from reconciler.engine.people import Conflict
from reconciler.engine.permits import override
from reconciler.engine.status import explain_of
from reconciler.model.adoption import Adoption
from reconciler.model.errors import HostError, UgsError
from reconciler.model.observation import Observation
from tests.world import World

WHAT = "the container api was not made by UGS"


class Engine:
    """An engine on which something foreign has the service's name, until `apply` may take it over."""

    def __init__(self, world: World, service: str = "api") -> None:
        self.foreign = {service: WHAT}
        self.adopted: list[bool] = []
        observe, apply = world.driver.observe, world.driver.apply

        def observed(*arguments: Any) -> dict[str, Observation]:
            seen: dict[str, Observation] = observe(*arguments)
            foreign = {name: Observation(name, (), what) for name, what in self.foreign.items()}
            return foreign | seen

        def applied(site: Any, cause: Any, work: Any, upto: int) -> None:
            self.adopted.append(cause.adopted)
            if work.service in self.foreign and not cause.adopted:
                raise HostError(f"{WHAT}", "adopt it")
            self.foreign.pop(work.service, None)
            apply(site, cause, work, upto)

        world.driver.observe, world.driver.apply = observed, applied


async def waiting(world: World) -> Engine:
    engine = Engine(world)
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    return engine


def adopt(world: World, **how: Any) -> object:
    return adoption.adopt(
        world.fleet, "production", "api", actor="ada", reason="it was started by hand", **how
    )


def rows(world: World) -> list[str]:
    return [event for event in world.events() if event.startswith("adoption")]


async def test_what_is_not_ours_is_left_alone_and_adopted_by_a_persons_word(world: World) -> None:
    engine = await waiting(world)
    assert world.answers("web") == "1.0.0"
    assert (world.view().sync, world.phases()) == ("foreign", ["waiting"])
    assert engine.adopted == [False]  # of web
    explained = explain_of(world.fleet, "production", "api")
    assert explained["sentence"] == (
        f"production: api 1.0.0 (first) waits: {WHAT}: that is not ours, and is left alone"
    )
    [gate] = [gate for gate in explained["gates"] if not gate["open"]]
    assert (gate["gate"], gate["opened_by"]) == ("adoption", "ugs adopt production api")

    adopt(world)
    await world.settle()
    assert world.answers() == "1.0.0"
    assert (world.view().sync, world.phases()) == ("in-sync", ["succeeded"])
    assert engine.adopted == [False, True]
    assert rows(world) == ["adoption api", "adoption-used api"]
    [told] = [said for said in world.told() if "may be adopted" in said]
    assert told.startswith("production: api may be adopted by the word of ada until ")
    assert told.endswith(f": it was started by hand ({WHAT})")


async def test_the_word_counts_once(world: World) -> None:
    engine = await waiting(world)
    adopt(world)
    await world.settle()
    engine.foreign = {"api": WHAT}
    world.bump("1.1.0")
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]
    assert world.answers() == "1.0.0"
    assert True not in engine.adopted[2:]


async def test_the_word_ends_by_itself_and_may_be_taken_back(world: World) -> None:
    engine = await waiting(world)
    world.core.driver("production")
    world.driver.prepare = refuse
    made = adopt(world, lasting="1h")
    assert isinstance(made, Adoption)
    await world.settle()
    adoption.withdraw(world.fleet, made.id, actor="bob")
    with pytest.raises(Conflict, match=f"no adoption {made.id} in force"):
        adoption.withdraw(world.fleet, made.id, actor="bob")
    adopt(world, lasting="1h")
    assert len(world.core.store.permits("production").adoptions) == 1
    world.clock.move(timedelta(hours=2))
    await world.settle()
    assert world.core.store.permits("production").adoptions == ()
    assert (world.view().sync, engine.adopted) == ("foreign", [False])
    assert rows(world) == ["adoption api", "adoption-withdrawn api", "adoption api"]


def refuse(*_: object) -> None:
    raise HostError("no disk", "free some")


async def test_what_may_not_be_adopted_is_said(world: World) -> None:
    await waiting(world)
    with pytest.raises(Conflict, match="nothing foreign stands in the way of web"):
        adoption.adopt(world.fleet, "production", "web", actor="ada", reason="why")
    with pytest.raises(UgsError, match="a reason is needed"):
        adoption.adopt(world.fleet, "production", "api", actor="ada", reason=" ")
    with pytest.raises(UgsError, match="say `ugs adopt`"):
        override(world.fleet, "production", "api", gate="adoption", actor="ada", reason="why", lasting="1h")
    world.driver.prepare = refuse
    adopt(world)
    with pytest.raises(Conflict, match="ada has let it be adopted already"):
        adopt(world)


async def test_a_service_that_stopped_is_not_started_over_something_foreign(world: World) -> None:
    engine = Engine(world, "none")
    world.deploy_first("1.0.0")
    await world.settle()
    world.stop()
    engine.foreign = {"api": WHAT}
    await world.settle()
    assert world.phases() == ["succeeded"]
    assert (world.view().sync, world.answers()) == ("foreign", "")
    adopt(world)
    world.clock.move(timedelta(seconds=20))
    await world.settle()
    await world.eventually(lambda: world.answers() == "1.0.0")
    assert rows(world) == ["adoption api", "adoption-used api"]


async def test_what_is_foreign_and_pinned_by_nobody_is_nobodys_business(world: World) -> None:
    world.more = "policy: {prune: true}\n"
    engine = Engine(world, "cron")
    world.deploy_first("1.0.0")
    await world.settle()
    assert world.fleet.passes["production"].views().keys() == {"api"}
    assert "cron" in engine.foreign
