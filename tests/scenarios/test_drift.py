"""Somebody changes by hand what was applied: it is told once, and corrected or only reported."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.drivers.base import Cause
from reconciler.engine import permits
from reconciler.engine.attention import needs_person
from reconciler.engine.status import explain_of
from reconciler.model.observation import Observation
from tests.world import World

WHAT = "memory: 1 GiB instead of 512 MiB"
REPORT = "policy: {drift: report}\n"


class Hand:
    """A hand that edits the one instance of api; `apply` mends it, as long as nobody holds that hand up."""

    def __init__(self, world: World, *, stubborn: bool = False) -> None:
        self.edits = False
        self.applied = 0
        observe, apply = world.driver.observe, world.driver.apply

        def observed(*arguments: Any) -> dict[str, Observation]:
            seen: dict[str, Observation] = observe(*arguments)
            if self.edits and "api" in seen:
                one = replace(seen["api"].instances[0], drift=WHAT)
                return seen | {"api": replace(seen["api"], instances=(one,))}
            return seen

        def applied(*arguments: Any) -> None:
            apply(*arguments)
            self.applied += 1
            self.edits = self.edits and stubborn

        world.driver.observe, world.driver.apply = observed, applied


async def deployed(world: World, more: str = "", **how: Any) -> Hand:
    world.more = more
    hand = Hand(world, **how)
    world.deploy_first("1.0.0")
    await world.settle()
    hand.applied = 0
    return hand


def rows(world: World) -> list[str]:
    return [event for event in world.events() if event.split()[0] in ("drift", "drift-ended", "repair")]


async def test_what_was_changed_is_made_as_it_was_and_told_once(world: World) -> None:
    hand = await deployed(world)
    pid, before = world.pid(), len(world.told())
    hand.edits = True
    await world.settle()
    assert hand.applied == 1
    assert rows(world) == ["drift api", "repair api", "drift-ended api"]
    changed = f"production: api 1.0.0 was changed by hand: instance 0: {WHAT}"
    assert world.told()[before:] == [
        f"{changed}; it is made as it was applied",
        "production: api has drifted no longer",
    ]
    assert (world.view().sync, world.pid()) == ("in-sync", pid)
    assert world.phases() == ["succeeded"]
    assert world.reverts() == []


async def test_with_report_it_stays_and_says_so_until_it_is_changed_back(world: World) -> None:
    hand = await deployed(world, REPORT)
    hand.edits = True
    await world.settle()
    await world.restart()
    await world.settle()
    assert hand.applied == 0
    assert world.view().sync == "drifted"
    said = (
        f"production: api 1.0.0 was changed by hand: instance 0: {WHAT}; policy.drift is report, so it stays "
        "until someone pins that, or changes it back"
    )
    assert explain_of(world.fleet, "production", "api")["sentence"] == said
    assert world.calls() == [said]
    assert needs_person(world.fleet) == [said]
    hand.edits = False
    await world.settle()
    assert rows(world) == ["drift api", "drift-ended api"]
    assert world.view().sync == "in-sync"
    assert needs_person(world.fleet) == []


async def test_a_hold_keeps_it_from_being_corrected_and_nothing_else_does(world: World) -> None:
    hand = await deployed(world, "timezone: UTC\nwindows: {patch: manual, minor: manual, major: manual}\n")
    permits.hold(world.fleet, "production", "api", actor="ada", reason="I look into it")
    hand.edits = True
    await world.settle()
    assert (hand.applied, world.view().sync) == (0, "drifted")
    [held] = world.core.store.permits("production").holds
    permits.release_hold(world.fleet, held.id, actor="ada")
    await world.settle()
    assert (hand.applied, world.view().sync) == (1, "in-sync")


async def test_what_drifts_again_and_again_is_corrected_ever_more_seldom_and_a_person_is_called(
    world: World,
) -> None:
    hand = await deployed(world, stubborn=True)
    hand.edits = True
    for _ in range(100):
        await world.a_pass()
        world.clock.move(timedelta(seconds=1))
    assert hand.applied == 5  # at once, and after 5, 10, 20 and 40 s
    assert rows(world) == ["drift api", *["repair api"] * 5]
    [call] = world.calls()
    assert call.startswith(f"production: api drifts again and again (instance 0: {WHAT}); find out who")
    world.clock.move(timedelta(minutes=5))
    await world.a_pass()
    assert hand.applied == 6


@pytest.mark.parametrize("policy", ["correct", "report"])
async def test_another_version_put_in_its_place_is_drift_too(world: World, policy: str) -> None:
    hand = await deployed(world, f"policy: {{drift: {policy}}}\n")
    old = world.core.store.good("production", "api")[0][0]
    world.bump("1.1.0")
    await world.settle()
    by_hand: Callable[..., None] = world.driver.restore
    site = world.core.site_of("production")
    by_hand(site, Cause("by-hand"), old, environment="production", service="api")
    await world.eventually(lambda: world.answers() == "1.0.0")
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    assert world.reverts() == []
    if policy == "correct":
        await world.eventually(lambda: world.answers() == "1.1.0")
        assert rows(world) == ["drift api", "repair api", "drift-ended api"]
    else:
        assert world.answers() == "1.0.0"
        assert rows(world) == ["drift api"]
        assert f"{old.target} runs in its place" in world.view().sentence
    assert hand.applied == 1 + (policy == "correct")
