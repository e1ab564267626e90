"""A version that does not prove healthy: the old one comes back, then its pin, and nothing else changes."""

from __future__ import annotations

import json

import pytest

from tests.git.colleague import git
from tests.world import World


@pytest.mark.fault("GT-13")
async def test_an_unhealthy_version_is_taken_back_and_its_commit_reverted(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    before = world.pinned()
    bump = world.bump("1.1.0", "unhealthy")
    await world.settle()

    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"
    [revert] = world.reverts()
    assert world.tip() == revert
    assert world.pinned() == before
    assert git(world.remote, "diff", "--numstat", bump, revert) == "1\t1\tenvironments/production.yaml"
    assert world.view().sync == "in-sync"
    assert world.phases("web") == ["succeeded"]


async def test_the_revert_says_what_happened_in_words_and_in_trailers(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    bump = world.bump("1.1.0", "unhealthy")
    await world.settle()

    newest = world.newest()
    assert newest is not None
    assert newest.revert_commit == world.tip()
    assert git(world.remote, "log", "-1", "--format=%an <%ae>|%cn", "main") == "UGS <ugs@example.org>|UGS"
    assert git(world.remote, "log", "-1", "--format=%s", "main") == "Revert production/api to 1.0.0"
    trailers = git(world.remote, "log", "-1", "--format=%(trailers:only,unfold)", "main").splitlines()
    before = newest.before
    assert before is not None
    assert trailers == [
        f"Reverts: {bump}",
        f"Ugs-Operation: {newest.operation}",
        "Ugs-Environment: production",
        "Ugs-Service: api",
        f"Ugs-From: {newest.to}",
        f"Ugs-To: {before.target}",
        f"Ugs-Reason: {newest.reason}",
    ]
    assert "healthz" in newest.reason
    assert "500" in newest.reason


async def test_git_log_tells_the_deployment_history(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    start = world.tip()
    bump = world.bump("1.1.0", "unhealthy")
    await world.settle()
    await world.deliver()

    world.ada.git("fetch", "--quiet", "origin", "main", "refs/notes/ugs:refs/notes/ugs")
    shown = world.ada.git("log", "--notes=ugs", "origin/main")
    assert shown.count("Notes (ugs):") == 2
    good, bad = json.loads(world.notes(start)), json.loads(world.notes(bump))
    assert good["outcome"] == "succeeded"
    assert (bad["outcome"], bad["revert_commit"]) == ("reverted", world.tip())
    assert bad["quarantined"] == bad["to"]


@pytest.mark.fault("GT-08")
async def test_a_bad_bump_inside_a_merge_commit(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    before = world.pinned()

    world.ada.git("switch", "--quiet", "--create", "bump")
    world.release("1.1.0", "unhealthy")
    world.pin("1.1.0")
    world.commit("Bump api to 1.1.0")
    world.ada.git("switch", "--quiet", "main")
    world.ada.git("merge", "--quiet", "--no-ff", "--message", "Merge the bump", "bump")
    world.ada.push()
    merge = world.tip()
    await world.settle()

    assert world.phases() == ["succeeded", "reverted"]
    assert world.pinned() == before
    newest = world.newest()
    assert newest is not None
    assert newest.revision == merge
    assert f"Reverts: {merge}" in git(world.remote, "log", "-1", "--format=%B", "main")


@pytest.mark.fault("GT-10")
async def test_of_five_pins_in_one_commit_only_the_bad_one_is_reverted(world: World) -> None:
    services = ("api", "base", "cron", "mail", "web")
    world.deploy_first("1.0.0", *services)
    await world.settle()

    for service in services:
        world.release("1.1.0", "crash" if service == "cron" else "ok", service=service)
        world.pin("1.1.0", service)
    world.merge("Bump all five")
    await world.settle()
    await world.settle()  # a fifth waited for a place

    assert {service: world.answers(service) for service in services} == {
        service: "1.0.0" if service == "cron" else "1.1.0" for service in services
    }
    [revert] = world.reverts()
    assert (
        git(world.remote, "diff", "--numstat", f"{revert}^", revert) == "1\t1\tenvironments/production.yaml"
    )
    assert 'cron: "1.0.0"   # cron here' in world.pinned()


async def test_several_unreleased_bumps_go_back_to_the_last_version_that_was_healthy_here(
    world: World,
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    world.bump("1.2.0")
    world.bump("1.3.0", "unhealthy")
    await world.settle()

    assert world.phases() == ["succeeded", "reverted"]
    assert 'api: "1.0.0"' in world.pinned()
    assert world.answers() == "1.0.0"


async def test_policy_revert_off_restores_and_leaves_git_alone(world: World) -> None:
    world.more = "policy: {revert: off}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    bump = world.bump("1.1.0", "unhealthy")
    await world.settle()

    assert world.phases() == ["succeeded", "restored"]
    assert world.answers() == "1.0.0"
    assert world.tip() == bump


async def test_a_first_deployment_that_fails_is_stopped_and_its_pin_removed(world: World) -> None:
    world.deploy_first("1.0.0", "web")
    await world.settle()
    before = world.pinned()
    world.bump("1.0.0", "unhealthy")
    await world.settle()

    assert world.phases() == ["reverted"]
    assert world.answers() == ""
    assert world.pinned() == before
    assert world.answers("web") == "1.0.0"


async def test_a_config_change_that_fails_takes_back_the_config_and_keeps_the_version(world: World) -> None:
    world.release(
        "1.0.0",
        more="config:\n  - {path: etc/api.conf, values: {mode: fast}}\n",
        files={"etc/api.conf": "mode = ${mode}\n"},
        probe='{command: ["grep", "--quiet", "fast", "etc/api.conf"], interval: 50ms}',
    )
    world.pin('{version: "1.0.0", config: {mode: fast}}')
    world.merge()
    await world.settle()
    before = world.pinned()
    first = world.view().running

    world.pin('{version: "1.0.0", config: {mode: broken}}')
    world.merge("Try another mode")
    await world.settle()

    assert world.phases() == ["succeeded", "reverted"]
    failed = world.newest()
    assert failed is not None
    assert failed.change_class == "config"
    assert world.pinned() == before
    assert world.view().running == first
    assert failed.to is not None
    assert first is not None
    assert failed.to.version == first.version
    assert [row.target for row in world.core.store.quarantined("production")] == [failed.to]
    await world.fleet.passes["production"].look()
    assert world.view().health == "healthy"


@pytest.mark.fault("RT-09")
async def test_an_old_version_that_is_ill_too_is_restored_once_and_a_person_called(world: World) -> None:
    ill = world.folder / "ill"
    world.release("1.0.0", probe=f'{{command: ["test", "!", "-e", "{ill}"], interval: 50ms, failures: 1}}')
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    world.at["phase:restoring"] = ill.touch
    await world.settle()

    assert world.phases() == ["succeeded", "stuck"]
    newest = world.newest()
    assert newest is not None
    assert newest.revert_commit == world.tip()
    assert 'api: "1.0.0"' in world.pinned()
    assert any("1.0.0 is back but did not prove healthy" in call for call in world.calls())
    assert world.view().running == (newest.before and newest.before.target)
