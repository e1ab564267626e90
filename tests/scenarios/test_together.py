"""What came in one commit and cannot be without what failed goes back with it: dependents first, in one revert."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.engine import people
from reconciler.engine.people import Conflict
from reconciler.model.errors import HostError
from reconciler.model.upgrade import Phase
from tests.git.colleague import git
from tests.world import World

pytestmark = pytest.mark.slow

NEEDS_API = 'requires: {api: ">=2.0.0"}\n'
NEEDS_WEB = 'requires: {web: ">=2.0.0"}\n'
STEP = 'upgrade: {from: ">=2.0.0"}\n'
NOT_REVERSIBLE = "upgrade: {reversible: false}\n"


async def rollback(world: World, service: str = "api") -> str:
    return await people.rollback(world.fleet, "production", service, actor="Ada", reason="it loses orders")


def write(world: World, service: str, mode: Any = "ok", version: str = "2.0.0", **release: Any) -> None:
    """A release and its pin, to be part of the next commit."""
    world.release(version, mode, service=service, **release)
    world.pin(version, service)


async def both_at_two(world: World, **web: Any) -> str:
    """api 2.0.0, and web 2.0.0 which needs it, came in one commit and run."""
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    write(world, "api")
    write(world, "web", **{"more": NEEDS_API} | web)
    commit = world.merge("Both")
    await world.settle()
    return commit


def restored_in_order(world: World) -> list[str]:
    """From now on, the services that the driver restores, each as it begins; the quarantine stands before."""
    restored: list[str] = []
    own = world.driver.restore

    def restore(site: Any, operation: str, good: Any, *, environment: str, service: str) -> None:
        restored.append(service)
        own(site, operation, good, environment=environment, service=service)

    world.driver.restore = restore
    return restored


def quarantined(world: World) -> list[str]:
    return [row.service for row in world.core.store.quarantined("production")]


def pins(world: World) -> dict[str, str]:
    """By service, what is pinned at the remote's tip."""
    lines = world.pinned().partition("pins:\n")[2].splitlines()
    return {line.split(":")[0].strip(): line.split('"')[1] for line in lines if '"' in line}


@pytest.mark.fault("GT-10")
async def test_dependents_that_have_not_begun_have_their_pins_put_back_in_the_same_commit(
    world: World,
) -> None:
    world.deploy_first("1.0.0", "api", "web", "mail", "portal")
    await world.settle()
    write(world, "api", "unhealthy")
    write(world, "web", more=NEEDS_API)
    write(world, "mail")
    bump = world.merge("Three at once")
    portal = world.bump("2.0.0", service="portal", more=NEEDS_API)
    await world.settle()

    assert (world.phases(), world.phases("web")) == (["succeeded", "reverted"], ["succeeded", "cancelled"])
    assert pins(world) == {"api": "1.0.0", "mail": "2.0.0", "portal": "2.0.0", "web": "1.0.0"}
    [revert] = world.reverts()
    assert git(world.remote, "diff", "--numstat", portal, revert) == "2\t2\tenvironments/production.yaml"
    message = git(world.remote, "log", "-1", "--format=%B", revert)
    assert message.startswith("Revert production/api to 1.0.0, and web with it\n")
    assert "- web 2.0.0 to 1.0.0: it needs api >=2.0.0, and 2.0.0 of it failed\n" in message
    assert f"Reverts: {bump}" in message
    failed, ended = world.upgrades()[0], world.upgrades("web")[0]
    assert ended.reason == f"it needs api >=2.0.0, and 2.0.0 of it failed (operation {failed.operation})"
    assert any("with it goes back web 2.0.0" in sentence for sentence in world.told())
    assert quarantined(world) == ["api"]
    gates = {gate.gate: gate.reason for gate in world.view("portal").gates if not gate.open}
    assert gates == {"dependency": "portal 2.0.0 needs api >=2.0.0; api 1.0.0 runs"}
    assert [world.answers(name) for name in ("api", "web", "mail", "portal")] == [
        "1.0.0",
        "1.0.0",
        "2.0.0",
        "1.0.0",
    ]


async def test_a_rollback_takes_back_what_came_with_it_dependents_first(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web", "app")
    await world.settle()
    write(world, "api")
    write(world, "web", more=NEEDS_API)
    write(world, "app", more=NEEDS_WEB, soak="1m", deadline="2m")
    before = world.pinned()
    bump = world.merge("All three")
    await world.settle_until(lambda: (one := world.newest("app")) and one.phase is Phase.VERIFYING)

    restored = restored_in_order(world)
    quarantined_at: list[list[str]] = []
    world.at["restore:begun"] = lambda: quarantined_at.append(quarantined(world))
    operation = await rollback(world)
    await world.settle()

    assert restored == ["app", "web", "api"]
    assert quarantined_at == [["api"]] * 3
    assert world.phases() == ["succeeded", "succeeded", "reverted"]
    assert world.phases("web") == ["succeeded", "succeeded", "reverted"]
    assert world.phases("app") == ["succeeded", "reverted"]
    assert quarantined(world) == ["api"]
    assert len(world.reverts()) == 1
    assert git(world.remote, "diff", "--numstat", bump, "main") == "3\t3\tenvironments/production.yaml"
    assert pins(world) == dict.fromkeys(("api", "app", "web"), "1.0.0")
    assert before.count("2.0.0") == 0
    for service in ("web", "app"):
        newest = world.upgrades(service)[0]
        assert (newest.taken_with, newest.revert_commit) == (operation, world.tip())
        assert newest.reason.endswith(f"(operation {operation})")
        assert world.view(service).sync == "in-sync"
    pids = [world.pid(service) for service in ("api", "web", "app")]
    await world.settle()
    assert pids == [world.pid(service) for service in ("api", "web", "app")]
    trailers = git(world.remote, "log", "-1", "--format=%(trailers:only,unfold)", "main").splitlines()
    assert [line for line in trailers if line.startswith("Ugs-With: ")] == [
        f"Ugs-With: {one.service} {one.failed} {one.restored}" for one in world.upgrades()[0].companions
    ]


async def test_a_step_on_the_way_goes_back_to_before_the_commit(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    write(world, "api")
    world.release("2.0.0", service="web", more=NEEDS_API)
    write(world, "web", version="3.0.0", soak="1m", deadline="2m", more=NEEDS_API + STEP)
    world.merge("web goes two steps")
    await world.settle_until(lambda: len(world.upgrades("web")) == 3)
    await rollback(world)
    await world.settle()
    assert (world.answers("api"), world.answers("web")) == ("1.0.0", "1.0.0")
    assert pins(world) == {"api": "1.0.0", "web": "1.0.0"}
    assert world.phases("web") == ["succeeded", "succeeded", "reverted"]


@pytest.mark.fault("GT-05", "GT-09")
async def test_a_pin_that_a_person_moved_is_left_alone_and_the_others_go_back(world: World) -> None:
    await both_at_two(world)
    moved: list[str] = []

    def person() -> None:
        if not moved:
            moved.append(world.bump("2.1.0", service="web", more=NEEDS_API))

    world.at["push:begun"] = person
    await rollback(world)
    await world.settle()

    assert (world.phases()[-1], world.phases("web")[2:]) == ("reverted", ["restored", "waiting"])
    assert world.upgrades("web")[1].reason.endswith("; the pin was moved meanwhile")
    assert pins(world) == {"api": "1.0.0", "web": "2.1.0"}
    [revert] = world.reverts()
    assert git(world.remote, "diff", "--numstat", moved[0], revert) == "1\t1\tenvironments/production.yaml"
    assert (world.answers("api"), world.answers("web")) == ("1.0.0", "1.0.0")


async def test_where_a_person_has_pinned_a_better_one_meanwhile_its_dependents_keep_their_pins(
    world: World,
) -> None:
    commit = await both_at_two(world)
    world.at["phase:reverting"] = lambda: world.tip() != commit or world.bump("2.0.1")
    await rollback(world)
    await world.settle()

    assert (world.phases()[-2:], world.phases("web")[2:]) == (
        ["restored", "succeeded"],
        ["restored", "succeeded"],
    )
    assert world.reverts() == []
    assert world.upgrades("web")[1].reason.endswith("; what it needs is pinned again")
    assert (world.answers("api"), world.answers("web")) == ("2.0.1", "2.0.0")


async def test_what_must_not_be_taken_back_by_itself_keeps_what_it_needs(world: World) -> None:
    await both_at_two(world, more=NEEDS_API + NOT_REVERSIBLE)
    with pytest.raises(
        Conflict, match=r"under what needs it: web 2\.0\.0 needs api >=2\.0\.0; roll web back"
    ):
        await rollback(world)
    assert quarantined(world) == []
    assert (world.answers("api"), world.answers("web")) == ("2.0.0", "2.0.0")


async def test_one_that_cannot_be_brought_back_calls_a_person_and_the_others_go_on(world: World) -> None:
    await both_at_two(world)
    own = world.driver.restore

    def restore(site: Any, operation: str, good: Any, *, environment: str, service: str) -> None:
        if service == "web":
            raise HostError("the disk is full", "free some of it")
        own(site, operation, good, environment=environment, service=service)

    world.driver.restore = restore
    await rollback(world)
    await world.settle()
    # Then the pin is what it was, and what still runs is brought there like any other change.
    assert (world.phases()[-1], world.phases("web")[2:]) == ("reverted", ["stuck", "succeeded"])
    assert (world.answers("api"), world.answers("web")) == ("1.0.0", "1.0.0")
    assert pins(world) == {"api": "1.0.0", "web": "1.0.0"}
    assert quarantined(world) == ["api"]
    [call] = [call for call in world.calls() if "is stuck" in call]
    assert "production: web" in call
    assert "the old version could not be brought back: the disk is full" in call


@pytest.mark.fault("GT-10")
async def test_pins_that_share_their_fate_go_back_in_one_commit(world: World) -> None:
    world.more = "policy: {atomic: true}\n"
    world.deploy_first("1.0.0", "api", "web", "mail")
    await world.settle()
    ill = world.folder / "ill"
    sick = f'{{command: ["test", "!", "-e", "{ill}"], interval: 50ms, failures: 1}}'
    write(world, "api", soak="1m", deadline="2m", probe=sick)
    write(world, "web")
    bump = world.merge("Two at once")
    await world.settle_until(lambda: world.phases("web")[1:] == ["succeeded"])
    ill.touch()
    await world.settle()

    assert (world.phases()[1:], world.phases("web")[1:]) == (["reverted"], ["succeeded", "reverted"])
    assert world.phases("mail") == ["succeeded"]
    [revert] = world.reverts()
    assert git(world.remote, "diff", "--numstat", bump, revert) == "2\t2\tenvironments/production.yaml"
    assert pins(world) == dict.fromkeys(("api", "mail", "web"), "1.0.0")
    assert (world.answers("api"), world.answers("web")) == ("1.0.0", "1.0.0")
    assert quarantined(world) == ["api"]
    assert world.upgrades("web")[0].reason.startswith("it came in one commit with api 2.0.0, which failed")


async def test_where_pins_are_not_reverted_what_shares_the_fate_waits_for_a_person(world: World) -> None:
    world.more = "policy: {atomic: true, revert: off}\n"
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    write(world, "api", "unhealthy")
    write(world, "web", soak="1m", deadline="2m")
    world.merge("Two at once")
    await world.settle()

    assert (world.phases()[1:], world.phases("web")[1:]) == (["restored"], ["restored", "waiting"])
    assert (world.answers("api"), world.answers("web")) == ("1.0.0", "1.0.0")
    gates = {gate.gate: gate.reason for gate in world.view("web").gates if not gate.open}
    assert gates.keys() == {"quarantine"}
    assert "it came in one commit with api 2.0.0, which failed" in gates["quarantine"]
