"""Merge to deploy: what becomes of a commit that moves pins."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.git.colleague import git
from tests.world import World


async def test_a_merged_pin_becomes_a_running_version(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    assert world.phases() == ["succeeded"]
    assert world.answers() == "1.0.0"

    bump = world.bump("1.1.0")
    await world.settle()

    assert world.phases() == ["succeeded", "succeeded"]
    assert world.answers() == "1.1.0"
    assert world.tip() == bump
    assert world.view().sentence == "production: api 1.1.0 runs as pinned and is healthy"
    assert world.calls() == []


async def test_every_deployed_commit_carries_its_story_in_a_note(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    bump = world.bump("1.1.0")
    await world.settle()
    await world.deliver()

    line = json.loads(world.notes(bump))
    newest = world.newest()
    assert newest is not None
    assert (line["operation"], line["service"], line["class"]) == (newest.operation, "api", "minor")
    assert line["outcome"] == "succeeded"
    assert line["to"] == str(newest.to)
    assert line["from"].startswith("1.0.0@")
    assert 0 < line["duration_s"] < 30


async def test_history_and_audit_have_every_step(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()

    newest = world.newest()
    assert newest is not None
    steps = world.core.store.steps(newest.operation)
    assert [step.step for step in steps] == ["artifact", "preflight", "apply", "settle", "tidy"]
    assert all(step.ended_at and step.outcome == "ok" for step in steps)
    moves = ["preparing api", "applying api", "verifying api", "succeeded api"]
    assert [event for event in world.events() if event.endswith(" api")] == moves


async def test_reading_an_unchanged_repository_parses_nothing(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    cache = world.core.repository._cache
    parsed = cache.parsed

    await world.settle()
    world.ada.merges({"README.md": "About the fleet\n"})
    await world.settle()
    assert cache.parsed == parsed

    world.bump("1.1.0")
    await world.settle()
    assert cache.parsed == parsed + 2  # the new release, and the environment


async def test_a_commit_that_poll_and_watch_see_at_once_deploys_once(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")

    await asyncio.gather(*(world.fleet.refresh() for _ in range(3)))
    await world.a_pass()
    await asyncio.gather(*(world.fleet.refresh() for _ in range(3)))
    await world.settle()

    assert world.phases() == ["succeeded", "succeeded"]


async def test_several_services_of_one_commit_are_upgraded_together(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()

    assert world.phases("api") == world.phases("web") == ["succeeded"]
    assert world.newest("api").revision == world.newest("web").revision == world.tip()  # type: ignore[union-attr]  # both are there


async def test_a_service_waits_for_what_it_requires(world: World) -> None:
    world.deploy_first("1.0.0", "api", "base")
    await world.settle()

    world.release("2.0.0", service="api", more='requires: {base: ">=2.0.0"}\n')
    world.pin("2.0.0", "api")
    world.merge("Bump api first")
    await world.settle()
    assert world.phases("api") == ["succeeded", "waiting"]
    assert "api 2.0.0 needs base >=2.0.0; base 1.0.0 runs" in world.view().sentence

    world.bump("2.0.0", service="base")
    await world.settle()
    await world.settle()
    assert world.phases("base") == ["succeeded", "succeeded"]
    assert world.phases("api") == ["succeeded", "succeeded"]
    assert world.reverts() == []


async def test_a_removed_pin_leaves_the_service_running_and_unpinned(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    pid = world.pid("web")

    world.pin(None, "web")
    world.merge("Retire web")
    await world.settle()
    assert world.pid("web") == pid
    assert world.view("web").sync == "unpinned"
    said = "web 1.0.0 is no longer pinned; policy.prune is off, so it runs on"
    assert world.view("web").sentence == f"production: {said}"

    world.stop("web")
    await world.settle()
    assert world.answers("web") == ""
    assert "web" not in world.fleet.passes["production"].views()


async def test_a_deleted_environment_leaves_its_services_running(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()

    world.files["environments/production.yaml"] = None
    world.merge("Retire production")
    await world.settle()

    assert world.pid() == pid
    assert world.core.desired["production"].gone == frozenset({"api"})
    assert "the repository has no environment production any more" in world.view().sentence


async def test_notes_and_health_of_a_release_deploy_nothing(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()

    text = world.text("releases/api/1.0.0.yaml").replace("deadline: 3s", "deadline: 9s")
    world.files["releases/api/1.0.0.yaml"] = f"{text}notes: |\n  Better words.\n"
    world.merge("Describe 1.0.0 better")
    await world.settle()

    assert world.phases() == ["succeeded"]
    assert world.pid() == pid
    assert world.fleet.problems == ()
    assert world.core.desired["production"].workloads["api"].release.health.deadline_s == 9


@pytest.mark.fault("RT-08")
async def test_an_edit_of_a_deployed_release_is_an_error_and_changes_nothing(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()

    world.release("1.0.0", "unhealthy")  # another archive under the same version
    world.merge("Rebuild 1.0.0")
    await world.settle()

    [problem] = world.fleet.problems
    assert str(problem).startswith("releases/api/1.0.0.yaml:1:1: api 1.0.0 was deployed and is frozen")
    assert world.phases() == ["succeeded"]
    assert world.pid() == pid
    assert world.view().sync == "in-sync"


async def test_it_works_over_http_with_basic_authentication(world: World) -> None:
    with world.over_http(password="open sesame"):
        world.deploy_first("1.0.0")
        await world.settle()
        world.bump("1.1.0", "unhealthy")
        await world.settle()
        await world.deliver()

    assert world.phases() == ["succeeded", "reverted"]
    [revert] = world.reverts()
    assert world.tip() == revert
    assert "open sesame" not in "\n".join(world.told())
    assert git(world.remote, "notes", "--ref=ugs", "list")
