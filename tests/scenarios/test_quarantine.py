"""What failed is not tried again, whoever pins it, until a person says so; and then once."""

from __future__ import annotations

import json

import pytest

from reconciler.engine import people
from reconciler.engine.people import Conflict
from reconciler.model.upgrade import Phase
from tests.git.colleague import git
from tests.world import World


async def a_failed_bump(world: World) -> None:
    """1.0.0 runs, 1.1.0 has failed, and its pin is reverted."""
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]


@pytest.mark.fault("GT-12")
async def test_automation_that_pins_it_again_meets_a_closed_gate_and_is_told_of_once(world: World) -> None:
    await a_failed_bump(world)
    told = len(world.told())

    world.pin("1.1.0")
    again = world.merge("Bump api to 1.1.0 (automatic)")
    for _ in range(3):
        await world.settle()

    assert world.phases() == ["succeeded", "reverted", "waiting"]
    assert world.answers() == "1.0.0"
    assert world.tip() == again
    assert len(world.reverts()) == 1
    [notice] = world.told()[told:]
    assert "1.1.0 failed here before" in notice
    assert world.calls() == [notice]
    gate = world.view().gates[0]
    assert (gate.gate, gate.open, gate.opened_by) == ("quarantine", False, "ugs retry production api")


async def test_unrelated_commits_do_not_announce_it_anew(world: World) -> None:
    await a_failed_bump(world)
    world.pin("1.1.0")
    world.merge("Bump api to 1.1.0 (automatic)")
    await world.settle()
    told = world.told()

    world.bump("1.0.0", service="web")
    await world.settle()
    world.files["README.md"] = "About the fleet\n"
    world.merge("Write about it")
    await world.settle()

    assert [sentence for sentence in world.told() if "api" in sentence] == told
    assert world.answers("web") == "1.0.0"


async def test_what_is_stuck_is_shut_out_in_git_too(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    commit = world.bump("1.1.0", "unhealthy", more="upgrade: {reversible: false}\n")
    await world.settle()
    assert world.phases() == ["succeeded", "stuck"]
    stuck = world.newest()
    assert stuck
    await world.deliver()
    [line] = [json.loads(line) for line in world.notes(commit).splitlines()]
    assert (line["operation"], line["outcome"]) == (stuck.operation, "stuck")
    assert (line["quarantined"], line["reason"]) == (str(stuck.to), stuck.reason)


async def test_a_person_has_it_tried_once_more(world: World) -> None:
    await a_failed_bump(world)
    commit = await people.retry(world.fleet, "production", "api", actor="Ada")
    await world.settle()

    assert world.phases() == ["succeeded", "reverted", "reverted"]
    first, second = world.upgrades()[1], world.upgrades()[0]
    assert second.operation != first.operation
    assert second.revision == commit
    assert len(world.reverts()) == 2
    assert world.answers() == "1.0.0"
    assert f"Ugs-Retry: {first.operation}" in git(world.remote, "log", "-1", "--format=%B", commit)
    assert 'api: "1.0.0"' in world.pinned()


async def test_a_retry_of_what_is_still_pinned_makes_an_empty_commit(world: World) -> None:
    world.more = "policy: {revert: off}\n"
    await_failed = world.deploy_first
    await_failed("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    assert world.phases() == ["succeeded", "restored"]

    commit = await people.retry(world.fleet, "production", "api", actor="Ada")
    await world.settle()

    assert git(world.remote, "diff", "--stat", f"{commit}^", commit) == ""
    assert world.phases() == ["succeeded", "restored", "restored"]
    assert world.upgrades()[0].attempt == 2


async def test_a_trailer_in_a_persons_own_commit_releases_the_one_operation_that_it_names(
    world: World,
) -> None:
    await a_failed_bump(world)
    failed = world.newest()
    assert failed is not None
    world.pin("1.1.0")
    world.merge(f"Try it again\n\nUgs-Retry: {failed.operation}\n")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted", "reverted"]

    world.pin("1.1.0")
    world.merge(f"And again\n\nUgs-Retry: {failed.operation}\n")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted", "reverted", "waiting"]
    assert len(world.reverts()) == 2
    assert world.events().count("quarantine-released api") == 1


async def test_a_trailer_that_names_no_operation_releases_nothing(world: World) -> None:
    await a_failed_bump(world)
    world.pin("1.1.0")
    world.merge("Try it again\n\nUgs-Retry: 0123456789abcdef\n")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted", "waiting"]


async def test_a_released_quarantine_lets_any_commit_try_it(world: World) -> None:
    await a_failed_bump(world)
    [released] = people.release(world.fleet, "production", "api", actor="Ada", why="the database is back")
    assert released.target.version.text == "1.1.0"
    world.pin("1.1.0")
    world.merge()
    await world.settle()
    assert world.phases() == ["succeeded", "reverted", "reverted"]


async def test_nothing_quarantined_can_be_neither_retried_nor_released(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    with pytest.raises(Conflict, match="nothing of api is quarantined"):
        await people.retry(world.fleet, "production", "api", actor="Ada")
    with pytest.raises(Conflict, match="nothing of api is quarantined"):
        people.release(world.fleet, "production", "api", actor="Ada", why="because")


async def test_a_pin_that_moved_on_is_not_retried_over_it(world: World) -> None:
    await a_failed_bump(world)
    world.bump("1.2.0")
    await world.settle()
    with pytest.raises(Conflict, match="has moved on"):
        await people.retry(world.fleet, "production", "api", actor="Ada")
    assert world.answers() == "1.2.0"


async def test_a_first_deployment_that_failed_is_pinned_again_where_it_stood(world: World) -> None:
    world.deploy_first("1.0.0", "web")
    await world.settle()
    world.bump("1.0.0", "unhealthy")
    pinned = world.pinned()
    await world.settle()
    await people.retry(world.fleet, "production", "api", actor="Ada")
    assert '"1.0.0"' in pinned
    await world.settle()
    assert world.phases() == ["reverted", "reverted"]


async def test_a_fixed_version_under_another_number_is_not_held_up(world: World) -> None:
    await a_failed_bump(world)
    world.bump("1.1.1")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted", "succeeded"]
    assert world.answers() == "1.1.1"


async def test_what_failed_here_may_run_with_another_configuration(world: World) -> None:
    template = {"etc/api.conf": "mode = ${mode}\n"}
    declared = "config:\n  - {path: etc/api.conf, values: {mode: fast}}\n"
    only_fast = '{command: ["grep", "--quiet", "fast", "etc/api.conf"], interval: 50ms}'
    world.deploy_first("1.0.0")
    await world.settle()
    world.release("1.1.0", more=declared, files=template, probe=only_fast)
    world.pin('{version: "1.1.0", config: {mode: slow}}')
    world.merge()
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]

    world.pin("1.1.0")
    world.merge("With its own configuration")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted", "succeeded"]


@pytest.mark.fault("GT-12")
async def test_it_stands_after_a_restart(world: World) -> None:
    await a_failed_bump(world)
    world.pin("1.1.0")
    world.merge("Bump api to 1.1.0 (automatic)")
    await world.restart()
    await world.settle()
    newest = world.newest()
    assert newest is not None
    assert newest.phase is Phase.WAITING
    assert world.answers() == "1.0.0"
