"""An upgrade on which the daemon dies, however often it is started: it is put aside, and the others go on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.engine.poison import DEATHS_MAX, MARK, take_up
from reconciler.model.upgrade import Phase
from tests.world import World


class Bug(Exception):
    """What nobody expected."""


def stumble() -> None:
    raise Bug


async def started_again(world: World) -> None:
    """As after a death: the engine of before said nothing and put nothing down."""
    world.forget()
    world.at["settle:begun"] = stumble
    await world.fleet.start()
    await world.rest()


@pytest.mark.fault("CR-12")
async def test_after_three_deaths_it_is_stuck_a_person_is_called_once_and_others_go_on(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    world.at["settle:begun"] = stumble
    world.bump("1.1.0")
    await world.reach(Phase.VERIFYING)
    await world.rest()
    for _ in range(2):
        await started_again(world)
        assert world.phases() == ["succeeded", "verifying"]
    await started_again(world)
    assert world.phases() == ["succeeded", "stuck"]
    told = [sentence for sentence in world.calls() if "bug" in sentence]
    assert len(told) == 2
    assert "was stopped by a bug of UGS" in told[0]
    assert "a bug stopped it 3 times while this was verifying" in told[1]
    assert world.reverts() == [], "a bug of ours is no verdict on the release"

    world.at.clear()
    world.bump("1.1.0", service="web")
    await world.settle()
    assert world.answers("web") == "1.1.0"
    assert world.phases() == ["succeeded", "stuck"]


@pytest.mark.fault("CR-12")
async def test_ten_deaths_in_one_phase_are_enough_whatever_they_were(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", soak="5m", deadline="20m")
    upgrade = await world.reach(Phase.VERIFYING)
    for _ in range(DEATHS_MAX - 1):
        assert take_up(world.core, upgrade)
    assert not take_up(world.core, upgrade)
    assert world.phases() == ["succeeded", "stuck"]
    assert "the daemon died 10 times while this was verifying" in world.calls()[-1]


async def test_what_was_carried_for_long_or_to_a_safe_point_is_no_poison(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", soak="5m", deadline="20m")
    await world.reach(Phase.VERIFYING)
    for _ in range(5):
        await world.restart()
        await world.until(Phase.VERIFYING)
    assert world.core.store.marks(MARK) != {}
    await world.eventually(lambda: world.clock.waiting)  # for the next probe: the soak has begun
    world.clock.move(timedelta(minutes=2))
    await world.fleet.refresh()
    await world.a_pass()
    assert world.core.store.marks(MARK) == {}
    world.clock.move(timedelta(minutes=5))
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
