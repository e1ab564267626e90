"""While the pin is being taken back, the remote is not alone with us: it moves, goes away, and refuses."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.model.upgrade import Phase
from tests.git.colleague import git
from tests.world import World


@pytest.mark.fault("GT-05")
async def test_the_tip_may_move_while_reverting(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    pushes: list[str] = []

    def colleague() -> None:
        if len(pushes) < 2:
            world.release(f"1.{len(pushes) + 1}.0", service="web")
            world.pin(f"1.{len(pushes) + 1}.0", "web")
            pushes.append(world.merge("Bump web meanwhile"))

    world.at["push:begun"] = colleague
    await world.settle()

    assert world.phases() == ["succeeded", "reverted"]
    assert len(world.reverts()) == 1
    assert 'api: "1.0.0"' in world.pinned()
    assert 'web: "1.2.0"' in world.pinned()
    assert git(world.remote, "rev-parse", "main^") == pushes[-1]
    await world.settle()
    assert world.answers("web") == "1.2.0"


@pytest.mark.fault("GT-09")
async def test_a_pin_that_a_person_moved_meanwhile_is_left_alone(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    moved: list[str] = []

    def person() -> None:
        if not moved:
            moved.append(world.bump("1.2.0"))

    world.at["phase:restoring"] = person
    await world.settle()

    assert world.phases() == ["succeeded", "restored", "succeeded"]
    restored = world.upgrades()[1]
    assert restored.reason.endswith("; the pin was moved meanwhile")
    assert world.reverts() == []
    assert world.tip() == moved[0]
    assert world.answers() == "1.2.0"


@pytest.mark.fault("GT-11")
async def test_a_pin_that_a_person_removed_meanwhile_is_left_alone(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    world.bump("1.1.0", "unhealthy")

    def person() -> None:
        world.pin(None)
        world.merge("Retire api")

    world.at["phase:restoring"] = person
    await world.settle()

    assert world.phases() == ["succeeded", "restored"]
    assert world.reverts() == []
    assert world.answers() == "1.0.0"


async def test_the_pin_is_found_where_the_file_was_split_meanwhile(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    world.bump("1.1.0", "unhealthy")

    def person() -> None:
        head = "environment: production\ndriver: {kind: process}\n"
        world.files |= {
            "environments/production.yaml": None,
            "environments/production/environment.yaml": head,
            "environments/production/api.yaml": '# Ours.\npins:\n  api: "1.1.0"  # soon\n',
            "environments/production/web.yaml": 'pins: {web: "1.0.0"}\n',
        }
        world.merge("Split production")

    world.at["phase:restoring"] = person
    await world.settle()

    assert world.phases() == ["succeeded", "reverted"]
    text = git(world.remote, "show", "main:environments/production/api.yaml")
    assert text == '# Ours.\npins:\n  api: "1.0.0"  # soon'
    assert world.view().sync == "in-sync"


@pytest.mark.fault("GT-01")
async def test_a_remote_that_is_down_never_delays_the_restore_and_gets_one_revert(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    away = world.folder / "away.git"
    world.at["phase:restoring"] = lambda: world.remote.rename(away)

    await world.reach(Phase.REVERTING)
    assert world.answers() == "1.0.0"
    await world.tries("revert", outcome="retry")

    away.rename(world.remote)
    world.clock.move(timedelta(minutes=10))
    await world.settle(refresh=False)
    assert world.phases() == ["succeeded", "reverted"]
    assert len(world.reverts()) == 1


@pytest.mark.fault("GT-06")
async def test_a_push_that_arrived_unseen_is_found_and_not_made_again(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    away = world.folder / "away.git"
    world.at["push:done"] = lambda: world.remote.exists() and world.remote.rename(away)

    await world.reach(Phase.REVERTING)
    await world.tries("revert", outcome="retry")
    del world.at["push:done"]
    away.rename(world.remote)
    world.clock.move(timedelta(minutes=10))
    await world.settle(refresh=False)

    assert world.phases() == ["succeeded", "reverted"]
    assert len(world.reverts()) == 1


@pytest.mark.fault("GT-07")
async def test_a_protected_branch_is_not_stormed(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    attempts = world.protect()
    await world.settle()
    await world.settle()

    assert world.phases() == ["succeeded", "restored"]
    assert world.answers() == "1.0.0"
    assert attempts() == 1
    [call] = world.calls()
    assert "the pin could not be reverted" in call
    assert "puts it back once it is merged" in call
    assert "protected" in call
    assert [row.service for row in world.core.store.quarantined("production")] == ["api"]
    assert world.view().gates[0].gate == "quarantine"
