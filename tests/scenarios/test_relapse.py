"""What degrades soon after its upgrade goes back, where its release says so: restored first, reverted then."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.upgrade import Phase
from tests.world import World

pytestmark = pytest.mark.slow


def relapsing(ill: Path, *, after: str = "restore", more: str = "") -> dict[str, Any]:
    """What has a release fail a probe while this file is there."""
    probe = f'{{command: ["test", "!", "-e", "{ill}"], interval: 50ms, failures: 2}}\n  after: {after}{more}'
    return {"probe": probe}


async def upgraded(world: World, **release: Any) -> str:
    """From 1.0.0 to 1.1.0; the commit of the latter."""
    world.deploy_first("1.0.0")
    await world.settle()
    bump = world.bump("1.1.0", **release)
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    return bump


async def looked(world: World, rounds: int = 3) -> None:
    for _ in range(rounds):
        await world.fleet.passes["production"].look()


async def test_what_degrades_within_the_hour_goes_back_and_its_pin_is_reverted_once(world: World) -> None:
    ill = world.folder / "ill"
    bump = await upgraded(world, **relapsing(ill))
    world.clock.move(timedelta(minutes=50))
    await world.settle()
    ill.touch()
    world.at["phase:restoring"] = lambda: quarantined.append(world.core.store.quarantined("production"))
    quarantined: list[object] = []
    await looked(world)
    await world.settle(refresh=False)
    assert world.phases() == ["succeeded", "succeeded", "reverted"]
    assert world.answers() == "1.0.0"
    assert 'api: "1.0.0"' in world.pinned()
    assert quarantined
    assert quarantined[0], "it was quarantined before anything was stopped"
    newest = world.newest()
    assert newest
    assert (newest.actor, newest.change_class) == ("ugs", "rollback")
    assert "degraded after its upgrade (operation " in newest.reason
    assert "command test ! -e" in newest.reason
    [revert] = world.reverts()
    assert f"Reverts: {bump}" in world.text_of(revert)
    await looked(world, 5)
    await world.settle()
    assert world.reverts() == [revert]  # what came back is not judged by the other's probes
    assert world.answers() == "1.0.0"


@pytest.mark.parametrize("release", [{"after": "tell"}, {"more": "\n  watch: 30m"}], ids=["tell", "late"])
async def test_it_is_only_told_where_nobody_asked_for_more_or_too_late(
    world: World, release: dict[str, str]
) -> None:
    ill = world.folder / "ill"
    await upgraded(world, **relapsing(ill, **release))
    world.clock.move(timedelta(minutes=31))
    await world.settle()
    ill.touch()
    await looked(world, 5)
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    assert world.view().health == "degraded"
    assert world.reverts() == []
    [call] = world.calls()
    assert "production: api 1.1.0 is degraded" in call


async def test_a_first_deployment_has_nothing_to_go_back_to_and_a_person_is_told_once(world: World) -> None:
    ill = world.folder / "ill"
    world.bump("1.0.0", **relapsing(ill))
    await world.settle()
    ill.touch()
    await looked(world, 6)
    await world.settle()
    assert world.phases() == ["succeeded"]
    told = [call for call in world.calls() if "cannot be taken back" in call]
    assert len(told) == 1
    assert "there is nothing that api could be rolled back to" in told[0]


async def test_what_must_not_be_taken_back_by_itself_stays(world: World) -> None:
    ill = world.folder / "ill"
    await upgraded(world, **relapsing(ill), more="upgrade: {reversible: false}\n")
    ill.touch()
    await looked(world, 6)
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    told = [call for call in world.calls() if "it is not taken back: 1.1.0 must not be" in call]
    assert len(told) == 1
    assert world.answers() == "1.1.0"


async def test_where_services_fail_that_nobody_touched_the_probing_is_suspect(world: World) -> None:
    ill = world.folder / "ill"
    sick = relapsing(ill)
    for service in ("one", "two", "three"):
        world.release("1.0.0", service=service, **sick)
        world.pin("1.0.0", service)
    world.release("1.0.0")
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    world.bump("1.1.0", **sick)
    await world.settle()
    ill.touch()
    await looked(world)
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    assert any("the probing itself is suspect" in call for call in world.calls())
    assert world.core.store.permits("production").holds


async def test_a_pin_that_has_moved_on_is_left_alone(world: World) -> None:
    ill = world.folder / "ill"
    await upgraded(world, **relapsing(ill))
    world.core.store.hold("production", None, reason="wait", owner="Ada", until=None)
    world.bump("1.2.0")
    await world.reach(Phase.WAITING)
    ill.touch()
    await looked(world, 5)
    await world.rest()
    assert world.answers() == "1.1.0"
    assert world.reverts() == []


async def test_a_daemon_that_is_stopped_in_the_middle_goes_on_with_it(world: World) -> None:
    ill = world.folder / "ill"
    await upgraded(world, **relapsing(ill))
    ill.touch()
    free = world.hold("restore")
    await looked(world)
    await world.until(Phase.RESTORING)
    free.set()
    await world.restart()
    await world.settle(refresh=False)
    assert world.phases() == ["succeeded", "succeeded", "reverted"]
    assert len(world.reverts()) == 1
    assert world.answers() == "1.0.0"


async def test_what_does_worse_than_its_baseline_later_goes_back_too(world: World) -> None:
    slow = world.folder / "slow"
    world.deploy_first("1.0.0")
    await world.settle()
    probe = (
        f'{{command: ["sh", "-c", "test ! -e {slow} || sleep 0.3"], interval: 50ms}}\n'
        '    - {performance: latency, at_most: "2x baseline", interval: 50ms}\n  after: restore'
    )
    world.bump("1.1.0", probe=probe)
    await world.settle()
    assert world.phases()[-1] == "succeeded"
    world.bump("1.2.0", probe=probe)
    await world.settle()
    slow.touch()
    await looked(world, 30)
    await world.settle(refresh=False)
    assert world.phases() == ["succeeded", "succeeded", "succeeded", "reverted"]
    assert world.answers() == "1.1.0"
