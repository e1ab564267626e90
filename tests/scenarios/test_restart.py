"""The engine is ended and started anew: it carries on from its journal, and nothing happens twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from reconciler.model.circumstances import Asked
from reconciler.model.desired import Desired
from reconciler.model.errors import HostError
from reconciler.model.plan import Change
from reconciler.model.upgrade import Phase
from tests.world import World


async def test_a_restart_at_rest_does_nothing(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid, events = world.pid(), world.events()
    await world.restart()
    await world.settle()
    assert world.pid() == pid
    assert world.events()[: len(events)] == events
    assert not {event for event in world.events()[len(events) :] if event.endswith("api")}


async def test_what_was_in_force_is_in_force_at_once_while_the_remote_is_down(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.remote.rename(world.folder / "away")
    world.stop()
    await world.restart()
    assert world.view().pinned == world.core.store.good("production", "api")[0][0].target
    await world.settle(refresh=False)
    await world.eventually(lambda: world.answers() == "1.0.0")


@pytest.mark.parametrize("mode", ["ok", "unhealthy"])
async def test_a_verification_is_begun_anew_however_long_the_engine_was_down(world: World, mode: str) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "ok" if mode == "ok" else "unhealthy", soak="200ms")
    await world.reach(Phase.VERIFYING)
    await world.stopped()
    world.clock.move(timedelta(hours=1))
    await world.fleet.start()
    await world.settle()

    assert world.phases() == ["succeeded", "succeeded" if mode == "ok" else "reverted"]
    assert world.answers() == ("1.1.0" if mode == "ok" else "1.0.0")


async def soaked(world: World) -> None:
    """Let the time pass until api's verification has ended."""
    while world.phases()[-1] == "verifying":
        world.clock.move(timedelta(seconds=5))
        await asyncio.sleep(0.01)


@pytest.mark.fault("CR-16")
async def test_a_reboot_during_verification_is_not_held_against_the_release(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    world.bump("1.1.0", soak="1m", deadline="10h")
    await world.reach(Phase.VERIFYING)
    await world.stopped()
    world.stop("api")
    world.stop("web")

    await world.fleet.start()
    await world.settle_until(lambda: world.answers() == "1.1.0")
    await soaked(world)
    assert world.phases() == ["succeeded", "succeeded"]
    await world.eventually(lambda: (world.answers(), world.answers("web")) == ("1.1.0", "1.0.0"))
    assert "again" in {step.step for step in world.core.store.steps(world.upgrades()[0].operation)}
    assert world.reverts() == []


async def test_what_is_lost_with_its_shim_while_it_soaks_is_started_again_once(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", soak="1m", deadline="10h")
    await world.reach(Phase.VERIFYING)
    await world.eventually(lambda: world.answers() == "1.1.0")
    world.stop()
    await world.tries("again", outcome="ok")
    await world.eventually(lambda: world.answers() == "1.1.0")
    await soaked(world)
    assert world.phases() == ["succeeded", "succeeded"]
    assert world.answers() == "1.1.0"


async def test_what_is_lost_again_and_again_counts_as_failed(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", soak="1m", deadline="10h")
    world.at["again:done"] = world.stop
    await world.reach(Phase.VERIFYING)
    await world.eventually(lambda: world.answers() == "1.1.0")
    world.stop()
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert "it does not run" in world.upgrades()[0].reason
    assert world.answers() == "1.0.0"


async def test_what_this_machine_keeps_from_being_started_again_is_parked(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", soak="1m", deadline="10h")
    await world.reach(Phase.VERIFYING)

    def apply(*_: object) -> None:
        raise HostError("no processes are left", "end some")

    world.driver.apply = apply
    world.stop()
    await world.until(Phase.WAITING)
    assert "no processes are left" in world.upgrades()[0].reason
    assert world.answers() == "1.0.0"
    assert len(world.calls()) == 1
    assert world.core.store.quarantined("production") == []


async def test_a_stop_while_preparing_leaves_what_runs_alone(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()
    world.bump("1.1.0")
    hold = world.hold("prepare")
    await world.reach(Phase.PREPARING)
    stopping = world.fleet.passes["production"].halt()
    hold.set()
    for task in stopping:
        await task
    assert world.phases() == ["succeeded", "preparing"]
    assert world.pid() == pid

    await world.restart()
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]


async def test_a_stop_while_the_old_version_proves_itself_is_heeded_at_once(world: World) -> None:
    ill = world.folder / "ill"
    world.release("1.0.0", probe=f'{{command: ["test", "!", "-e", "{ill}"], interval: 50ms}}', deadline="1m")
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    world.at["phase:restoring"] = ill.touch
    await world.reach(Phase.RESTORING)
    await world.tries("restore", outcome="ok")

    await world.stopped()
    assert world.phases() == ["succeeded", "restoring"]
    ill.unlink()
    await world.fleet.start()
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]


async def test_a_stop_while_the_remote_is_down_reverts_after_the_restart(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    away = world.folder / "away.git"
    world.at["phase:restoring"] = lambda: world.remote.rename(away)
    await world.reach(Phase.REVERTING)
    await world.tries("revert", outcome="retry")

    await world.stopped()
    assert world.phases() == ["succeeded", "reverting"]
    away.rename(world.remote)
    await world.fleet.start()
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert len(world.reverts()) == 1


async def test_a_bug_in_one_upgrade_stops_that_service_alone_until_a_restart(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    own = world.driver.prepare

    def prepare(site: object, work: object, revision: str) -> None:
        if getattr(work, "service", "") == "api":
            raise KeyError("a bug")
        own(site, work, revision)

    world.driver.prepare = prepare
    world.release("1.1.0", service="web")
    world.pin("1.1.0", "web")
    world.bump("1.1.0")
    await world.fleet.refresh()
    await world.a_pass()
    await world.rest()
    await world.a_pass()
    assert (world.phases("api"), world.phases("web")) == (["succeeded", "preparing"], ["succeeded"] * 2)
    assert "bug api" in world.events()

    world.driver.prepare = own
    await world.restart()
    await world.settle()
    assert world.phases("api") == ["succeeded", "succeeded"]


async def test_what_ends_while_a_pass_decides_is_not_started_once_more(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    await world.reach(Phase.VERIFYING)
    here = world.fleet.passes["production"]
    weigh = here.weigher.asked

    async def asked(desired: Desired, change: Change) -> Asked:
        """Takes so long that the upgrade has ended meanwhile."""
        await world.rest()
        return await weigh(desired, change)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(here.weigher, "asked", asked)
        await world.a_pass()
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
