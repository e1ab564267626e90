"""Gates that people and other environments close and open, from the pin that moved to what runs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.engine import permits
from reconciler.engine.attention import needs_person
from reconciler.model.upgrade import Phase
from tests.world import World


async def test_a_hold_keeps_everything_where_it_is_until_it_is_released(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    hold = permits.hold(world.fleet, "production", None, actor="ada", reason="database move")

    world.bump("1.1.0")
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]
    assert "held by ada: database move" in world.view().sentence

    permits.release_hold(world.fleet, hold.id, actor="bob")
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]


async def test_a_hold_of_one_service_concerns_no_other_and_ends_by_itself(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    permits.hold(world.fleet, "production", "api", actor="ada", reason="look first", lasting="1h")

    world.release("1.1.0")
    world.release("1.1.0", service="web")
    world.pin("1.1.0")
    world.pin("1.1.0", "web")
    world.merge()
    await world.settle()
    assert (world.phases("api")[-1], world.phases("web")[-1]) == ("waiting", "succeeded")

    world.clock.move(timedelta(hours=1))
    await world.settle()
    assert world.phases("api") == ["succeeded", "succeeded"]


async def test_what_stopped_is_not_started_again_while_it_is_held(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    hold = permits.hold(world.fleet, "production", "api", actor="ada", reason="disk is being replaced")
    world.stop()
    await world.settle()
    assert world.answers() == ""

    permits.release_hold(world.fleet, hold.id, actor="ada")
    await world.settle()
    await world.eventually(lambda: world.answers() == "1.0.0")


async def test_what_waits_begins_by_what_runs_then(world: World) -> None:
    world.more = "policy: {approvals: {minor: 1}}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    hold = permits.hold(world.fleet, "production", "api", actor="ada", reason="disk is being replaced")
    world.stop()
    world.bump("1.1.0")
    await world.settle()
    waits = world.newest()
    assert waits
    assert (waits.phase, waits.running) == (Phase.WAITING, None)

    permits.release_hold(world.fleet, hold.id, actor="ada")
    await world.settle()
    await world.eventually(lambda: world.answers() == "1.0.0")
    await permits.approve(world.fleet, "production", "api", actor="bob")
    await world.settle()
    begun = world.newest()
    assert begun
    assert begun.before
    assert (begun.operation, begun.running) == (waits.operation, begun.before.target)
    assert world.answers() == "1.1.0"


async def test_a_major_change_waits_for_two_approvals_of_exactly_it(world: World) -> None:
    world.more = "policy: {approvals: {major: 2}}\n"
    world.deploy_first("1.0.0")
    await world.settle()

    world.bump("2.0.0")
    await world.settle()
    assert "needs 2 approvals, has none" in world.view().sentence

    await permits.approve(world.fleet, "production", "api", actor="bob")
    await world.settle()
    assert "needs 2 approvals, has 1 (bob)" in world.view().sentence
    world.files["README.md"] = "An unrelated commit.\n"
    world.merge("Say something")
    await world.settle()
    assert "has 1 (bob)" in world.view().sentence

    await permits.approve(world.fleet, "production", "api", actor="cleo")
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    assert world.answers() == "2.0.0"


@pytest.mark.fault("RT-13")
async def test_another_target_voids_what_was_approved(world: World) -> None:
    world.more = "policy: {approvals: {major: 1}}\nwindows: {major: manual}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("2.0.0")
    await world.settle()
    await permits.approve(world.fleet, "production", "api", actor="bob")
    await world.settle()
    assert "needs 1 approval" not in world.view().sentence

    world.pin('{version: "2.0.0", instances: 2}')
    world.merge("Two of them")
    await world.settle()
    assert "needs 1 approval" in world.view().sentence


async def test_an_override_opens_a_closed_window_and_leaves_a_question(world: World) -> None:
    world.more = "windows: {minor: manual}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]

    made = permits.override(
        world.fleet, "production", "api", gate="window", actor="ada", reason="orders are lost", lasting="1h"
    )
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    [question] = needs_person(world.fleet)
    assert f"ugs override confirm {made.id}" in question

    permits.confirm(world.fleet, made.id, actor="bob")
    assert needs_person(world.fleet) == []


async def test_nobody_opens_a_gate_and_walks_through_it_in_one_commit(world: World) -> None:
    world.more = "windows: {minor: manual}\n"
    world.deploy_first("1.0.0")
    await world.settle()

    world.more = "windows: {minor: always}\n"
    world.bump("1.1.0")
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]
    assert "as it stood before the push that moved the pin" in world.view().sentence

    world.bump("1.1.1")
    await world.settle()
    assert world.phases() == ["succeeded", "superseded", "succeeded"]


async def test_a_gate_that_a_later_commit_opens_is_open(world: World) -> None:
    world.more = "windows: {minor: manual}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]

    world.more = "windows: {minor: always}\n"
    world.merge("Open the window")
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]


async def test_an_urgency_that_was_edited_in_later_counts_for_nothing(world: World) -> None:
    world.more = "windows: {minor: manual}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    await world.settle()

    manifest = world.text("releases/api/1.1.0.yaml")
    urgent = "upgrade: {urgency: emergency}\nhealth:\n"
    world.files["releases/api/1.1.0.yaml"] = manifest.replace("health:\n", urgent)
    world.merge("Call it an emergency")
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]


async def test_a_version_comes_only_after_it_has_soaked_in_the_environment_before(world: World) -> None:
    staging = 'environment: staging\ndriver: {kind: process}\npins:\n  api: {version: "%s", port: %d}\n'
    port = world.port("staged")
    world.more = "policy: {promote: {from: staging, soak: 24h}}\n"
    world.files["environments/staging.yaml"] = staging % ("1.0.0", port)
    world.release("1.0.0")
    world.pin("1.0.0")
    world.merge("Start")
    await world.settle()
    assert world.phases() == ["waiting"]
    assert "1.0.0 has to run healthily in staging until" in world.view().sentence

    world.clock.move(timedelta(hours=24))
    await world.settle()
    assert world.phases() == ["succeeded"]

    world.bump("1.1.0")
    await world.settle()
    assert "1.1.0 has not proved healthy in staging, where 1.0.0 runs" in world.view().sentence


@pytest.mark.fault("RT-06")
async def test_three_services_that_fail_together_trip_the_breaker(world: World) -> None:
    names = ("api", "base", "web")
    world.deploy_first("1.0.0", *names)
    await world.settle()

    for name in names:
        world.release("1.1.0", "unhealthy", service=name)
        world.pin("1.1.0", name)
    world.merge("Break them all")
    await world.settle()

    ended = sorted(world.phases(name)[-1] for name in names)
    assert "restored" in ended
    assert all(world.answers(name) == "1.0.0" for name in names)
    assert len(world.reverts()) < 3
    [hold] = world.core.store.permits("production").holds
    assert "upgrades failed within 10 minutes" in hold.reason

    world.bump("1.2.0")
    world.stop()
    await world.restart()
    await world.settle()
    assert world.phases()[-1] == "waiting"
    await world.eventually(lambda: world.answers() == "1.0.0")


@pytest.mark.fault("RT-06")
async def test_probing_that_fails_for_everyone_is_suspected_and_reverts_nothing(world: World) -> None:
    world.deploy_first("1.0.0", "api", "base", "mail", "web")
    await world.settle()
    bump = world.bump("1.1.0", "unhealthy")
    here = world.fleet.passes["production"]

    def stop_the_others() -> None:
        for name in ("base", "mail", "web"):
            world.stop(name)

    world.at["apply:done"] = stop_the_others
    await world.fleet.refresh()
    await here.look()
    await world.settle(refresh=False)

    assert world.phases("api") == ["succeeded", "stuck"]
    assert world.tip() == bump
    assert "the probing itself is suspect" in world.told()[-1]
    [hold] = world.core.store.permits("production").holds
    assert "the probing is suspect" in hold.reason


async def test_services_that_wait_for_a_newer_pin_are_no_witnesses_against_the_probing(world: World) -> None:
    waiting = ("base", "mail", "web")
    world.deploy_first("1.0.0", "api", *waiting)
    await world.settle()
    for name in waiting:
        permits.hold(world.fleet, "production", name, actor="ada", reason="later")
        world.release("1.1.0", service=name)
        world.pin("1.1.0", name)
    world.bump("1.1.0", "unhealthy")
    await world.fleet.refresh()
    await world.fleet.passes["production"].look()
    await world.settle(refresh=False)

    assert world.phases("api") == ["succeeded", "reverted"]
    assert [world.phases(name)[-1] for name in waiting] == ["waiting"] * 3
