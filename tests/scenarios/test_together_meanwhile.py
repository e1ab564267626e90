"""While what came together is taken back, nothing stands still: steps are under way, daemons and remotes go."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from reconciler.engine import together
from reconciler.model.errors import HostError, TransientError
from reconciler.model.upgrade import Phase
from tests.scenarios.test_together import NEEDS_API, both_at_two, pins, quarantined, rollback, write
from tests.world import World

pytestmark = pytest.mark.slow


async def web_under_way(world: World, phase: Phase, **web: Any) -> None:
    """api 2.0.0 runs, and web 2.0.0 from the same commit, which needs it, is in this phase."""
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    write(world, "api")
    write(world, "web", **{"more": NEEDS_API, "soak": "1m", "deadline": "2m"} | web)
    world.merge("Both")
    await world.settle_until(lambda: world.phases("web")[1:] == [phase.value])


def hold_for(world: World, call: str, service: str) -> threading.Event:
    """From now on this call of the driver has its effect on one service only when the event is set."""
    own, free = getattr(world.driver, call), world.hold(call)
    held = getattr(world.driver, call)

    def either(*arguments: Any, **keywords: Any) -> Any:
        named = {getattr(one, "service", "") for one in arguments} | {keywords.get("service")}
        return (held if service in named else own)(*arguments, **keywords)

    setattr(world.driver, call, either)
    return free


def check_both_back(world: World, web: list[str]) -> None:
    assert (world.phases()[-1], world.phases("web")[1:]) == ("reverted", web)
    assert (world.answers("api"), world.answers("web")) == ("1.0.0", "1.0.0")
    assert pins(world) == {"api": "1.0.0", "web": "1.0.0"}
    assert len(world.reverts()) == 1


async def test_what_is_being_prepared_ends_untouched(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    pid = world.pid("web")
    write(world, "api")
    write(world, "web", more=NEEDS_API)
    world.merge("Both")
    free = hold_for(world, "prepare", "web")
    await world.settle_until(lambda: world.phases("web")[1:] == ["preparing"])
    await rollback(world)
    free.set()
    await world.settle()
    check_both_back(world, ["cancelled"])
    assert world.pid("web") == pid


@pytest.mark.crash
async def test_what_is_being_applied_is_restored_when_its_step_has_ended(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    write(world, "api")
    write(world, "web", more=NEEDS_API)
    world.merge("Both")
    free = hold_for(world, "apply", "web")
    await world.settle_until(lambda: world.phases("web")[1:] == ["applying"])
    await rollback(world)
    assert world.answers() == "2.0.0"
    free.set()
    await world.settle()
    check_both_back(world, ["reverted"])


async def test_what_fails_itself_meanwhile_is_quarantined_too(world: World) -> None:
    await web_under_way(world, Phase.VERIFYING)
    operation = await rollback(world)
    world.fleet.passes["production"].running["web"].control.say(verdict="it fails as well")
    await world.settle()
    check_both_back(world, ["reverted"])
    assert sorted(quarantined(world)) == ["api", "web"]
    newest = world.upgrades("web")[0]
    assert (newest.taken_with, newest.failed) == (operation, True)
    [row] = [row for row in world.core.store.quarantined("production") if row.service == "web"]
    assert row.revert_commit == world.tip()


@pytest.mark.crash
async def test_what_this_machine_has_parked_goes_back_as_well(world: World) -> None:
    await both_at_two(world)
    write(world, "api", version="3.0.0")
    write(world, "web", version="3.0.0", more='requires: {api: "3.x"}\n')
    world.merge("Both again")
    own = world.driver.apply

    def full(site: Any, cause: Any, work: Any, upto: int) -> None:
        if work.service == "web":
            raise HostError("the disk is full", "free some of it")
        own(site, cause, work, upto)

    world.driver.apply = full
    free = hold_for(world, "restore", "web")
    await world.settle_until(lambda: world.phases("web")[2:] == ["restoring"])
    await rollback(world)
    world.driver.apply = own
    free.set()
    await world.settle()
    assert (world.phases()[-1], world.phases("web")[-1]) == ("reverted", "reverted")
    assert (world.answers("api"), world.answers("web")) == ("2.0.0", "2.0.0")
    assert pins(world) == {"api": "2.0.0", "web": "2.0.0"}


@pytest.mark.crash
async def test_a_daemon_that_ends_after_the_decision_goes_on_with_it(world: World) -> None:
    await web_under_way(world, Phase.VERIFYING)
    free = world.hold("restore")
    operation = await rollback(world)
    await world.settle_until(lambda: world.phases("web")[1:] == ["restoring"])
    for here in world.fleet.passes.values():
        here.halt()
    free.set()
    await world.restart()
    await world.settle()
    check_both_back(world, ["reverted"])
    assert world.upgrades("web")[0].taken_with == operation


@pytest.mark.fault("GT-06")
async def test_a_push_that_arrived_unseen_is_found_with_all_that_it_put_back(world: World) -> None:
    await both_at_two(world)
    away = world.folder / "away.git"
    tip = world.tip()
    world.at["push:begun"] = lambda: world.tip() != tip or world.bump("2.1.0", service="web", more=NEEDS_API)
    world.at["push:done"] = lambda: world.remote.exists() and world.remote.rename(away)
    await rollback(world)
    await world.tries("revert", outcome="retry")
    world.at.clear()
    away.rename(world.remote)
    world.clock.move(timedelta(minutes=10))
    await world.settle(refresh=False)
    assert (world.phases()[-1], world.upgrades("web")[-1].phase) == ("reverted", Phase.SUCCEEDED)
    assert len(world.reverts()) == 1
    left = next(one for one in world.upgrades("web") if one.taken_with)
    assert (left.phase, left.reason.rpartition("; ")[2]) == (Phase.RESTORED, "the pin was moved meanwhile")


@pytest.mark.crash
async def test_what_another_commit_is_changing_has_its_pin_put_back_alone(world: World) -> None:
    world.more = "timezone: UTC\nwindows: {major: [{cron: '0 2 1 1 *', duration: 1h}]}\n"
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    world.bump("1.5.0", service="web", soak="1m", deadline="2m")
    await world.settle_until(lambda: world.phases("web")[1:] == ["verifying"])
    write(world, "api", "unhealthy", version="1.1.0")
    write(world, "web", more='requires: {api: ">=1.1.0"}\n')
    world.merge("Both")
    await world.settle_until(lambda: world.phases()[1:] == ["reverted"])
    assert pins(world) == {"api": "1.0.0", "web": "1.5.0"}
    assert world.phases("web")[1:] == ["verifying"]
    assert len(world.reverts()) == 1


async def test_where_the_engine_cannot_be_asked_the_journal_decides(world: World) -> None:
    await web_under_way(world, Phase.VERIFYING)
    world.fleet.passes["production"].running["web"].control.say(taken_with="")
    own = world.core.repository.past.moved

    def broken(*_arguments: Any, **_keywords: Any) -> Any:
        raise TransientError("the mirror is being mended")

    world.core.repository.past.moved = broken  # type: ignore[method-assign]  # it cannot be read
    with pytest.raises(TransientError):
        await rollback(world)
    newest = world.upgrades("web")[0]
    assert newest.phase is Phase.VERIFYING
    world.fleet.passes["production"].running["web"].control.say(verdict="it fails")
    await world.settle_until(lambda: world.upgrades("web")[0].final)
    world.core.repository.past.moved = own  # type: ignore[method-assign]  # it can again
    assert world.phases("web")[1:] == ["reverted"]
    assert world.upgrades("web")[0].companions == ()


async def test_nobody_is_waited_for_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await both_at_two(world)
    monkeypatch.setattr(together, "TURN_MAX_S", 0.2)
    free = hold_for(world, "restore", "web")
    await rollback(world)
    await world.settle_until(lambda: world.phases()[2:] == ["reverted"])
    assert world.answers() == "1.0.0"
    assert "not-awaited api" in world.events()
    free.set()
    await world.settle()
    assert world.phases("web")[-1] == "reverted"
