"""A pin, an environment, or all of it is removed from the repository: what stops then, when, and by whose word."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.engine import people, permits
from reconciler.engine.attention import needs_person
from reconciler.engine.people import Conflict
from reconciler.engine.status import explain_of, plan_of, status_of
from reconciler.engine.upkeep import records_of
from reconciler.model.errors import HostError, InputError
from reconciler.model.plan import removal_of
from reconciler.model.upgrade import Phase
from tests.fleet_repository import ENVIRONMENT_FILE
from tests.git.colleague import git
from tests.world import World

PRUNE = "policy: {prune: true}\n"
ON_SATURDAYS = 'timezone: UTC\nwindows: {major: [{cron: "0 3 * * 6", duration: 2h}]}\n'
TUESDAY = datetime(2030, 1, 1, 12, tzinfo=UTC)
SATURDAY = datetime(2030, 1, 5, 3, tzinfo=UTC)


async def start(world: World, more: str = PRUNE, *services: str) -> None:
    world.more = more
    world.deploy_first("1.0.0", *(services or ("api", "web")))
    await world.settle()


async def unpin(world: World, *services: str) -> str:
    for service in services:
        world.pin(None, service)
    commit = world.merge(f"Remove {', '.join(services)}")
    await world.settle()
    return commit


async def lose_the_environment(world: World) -> None:
    world.files[ENVIRONMENT_FILE] = None
    world.merge("Clean up")
    await world.settle()


def services_of(world: World) -> list[str]:
    """What the status lists, `environment/service`."""
    return [
        f"{here['environment']}/{service['service']}"
        for here in status_of(world.fleet, {})["environments"]
        for service in here["services"]
    ]


async def test_without_prune_an_unpinned_service_runs_on_and_says_so(world: World) -> None:
    await start(world, "")
    pids = world.pid(), world.pid("web")
    await unpin(world, "api", "web")
    assert (world.pid(), world.pid("web")) == pids
    assert world.view().sync == "unpinned"
    said = "production: api 1.0.0 is no longer pinned; policy.prune is off, so it runs on"
    assert explain_of(world.fleet, "production", "api")["sentence"] == said
    assert plan_of(world.fleet)["changes"] == []
    assert world.phases() == ["succeeded"]


async def test_with_prune_a_removed_pin_stops_its_service_and_a_pin_brings_it_back(world: World) -> None:
    await start(world)
    web = world.pid("web")
    commit = await unpin(world, "api")
    assert world.answers() == ""
    assert world.pid("web") == web
    removal = world.newest()
    assert removal is not None
    assert (removal.phase, removal.change_class, removal.to) == (Phase.SUCCEEDED, "removal", None)
    assert removal.revision == commit
    assert [(step.step, step.outcome) for step in world.core.store.steps(removal.operation)] == [
        ("remove", "ok")
    ]
    assert "production: api 1.0.0 → nothing succeeded: it is stopped" in world.told()
    await world.deliver()
    assert '"to": null, "outcome": "succeeded"' in world.notes(commit)
    assert services_of(world) == ["production/web"]
    assert world.reverts() == []
    with pytest.raises(Conflict, match="nothing that api could be rolled back to"):
        await people.rollback(world.fleet, "production", "api", actor="ada", reason="oh")

    await world.settle()
    assert world.answers() == ""  # it is no repair's business
    assert list((world.state / "services/production/api/1.0.0").iterdir()), "its files are kept"
    world.pin("1.0.0")
    world.merge("Bring api back")
    await world.settle()
    assert world.answers() == "1.0.0"
    assert world.phases() == ["succeeded", "succeeded", "succeeded"]


async def test_a_removal_waits_for_its_window_runs_until_then_and_is_cancelled_by_a_pin(world: World) -> None:
    world.clock.move_to(TUESDAY)
    await start(world, ON_SATURDAYS + PRUNE)
    await unpin(world, "api")
    assert world.phases() == ["succeeded", "waiting"]
    waits = "production: api 1.0.0 → nothing waits: the major window opens Sat 2030-01-05 03:00 UTC"
    assert world.view().sentence == waits
    [change] = plan_of(world.fleet)["changes"]
    assert (change["class"], change["from"][:6], change["to"]) == ("removal", "1.0.0@", None)
    world.stop()
    await world.settle()
    await world.eventually(lambda: world.answers() == "1.0.0")

    pid = world.pid()
    world.pin("1.0.0")
    world.merge("Keep it")
    await world.settle()
    world.clock.move_to(SATURDAY)
    await world.settle()
    assert world.phases() == ["succeeded", "cancelled"]
    assert world.pid() == pid

    await unpin(world, "api")
    assert world.phases() == ["succeeded", "cancelled", "succeeded"]
    assert world.answers() == ""


async def test_another_version_pinned_while_a_removal_waits_is_deployed_instead(world: World) -> None:
    world.clock.move_to(TUESDAY)
    await start(world, ON_SATURDAYS + PRUNE)
    await unpin(world, "api")
    world.bump("1.1.0")
    await world.settle()
    assert world.phases() == ["succeeded", "cancelled", "succeeded"]
    assert world.upgrades()[1].reason == "it is pinned again"
    assert world.answers() == "1.1.0"


async def test_a_pin_that_comes_back_too_late_starts_the_service_again(world: World) -> None:
    await start(world)
    free = world.hold("restore")
    world.pin(None)
    world.merge("Remove api")
    await world.reach(Phase.APPLYING)
    with pytest.raises(Conflict, match="is being removed"):
        await people.rollback(world.fleet, "production", "api", actor="ada", reason="oh")
    world.pin("1.0.0")
    world.merge("Keep it")
    await world.fleet.refresh()
    await world.a_pass()
    free.set()
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded", "succeeded"]
    assert world.answers() == "1.0.0"


async def test_what_ends_while_a_pass_looks_is_neither_removed_twice_nor_started_again(world: World) -> None:
    await start(world)
    free, seen, look = world.hold("restore"), threading.Event(), world.driver.observe
    world.pin(None)
    world.merge("Remove api")
    await world.reach(Phase.APPLYING)

    def look_and_think(*arguments: object) -> object:
        found = look(*arguments)
        assert seen.wait(30)
        return found

    world.driver.observe = look_and_think
    passing = asyncio.create_task(world.a_pass())
    await asyncio.sleep(0)
    free.set()
    await world.until(Phase.SUCCEEDED)
    await world.rest()
    seen.set()
    await passing
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    assert world.answers() == ""


async def test_a_removal_that_a_former_daemon_began_ends_when_the_pin_is_there_again(world: World) -> None:
    await start(world)
    pid, here = world.pid(), world.fleet.passes["production"]
    records = records_of(world.core, "production")
    change = removal_of(world.core.desired["production"], "api", here.observed["api"], records)
    world.core.move(here.ledger.open(change, world.tip()), Phase.PREPARING, "")
    await world.restart()
    await world.settle()
    assert world.phases() == ["succeeded", "cancelled"]
    assert world.pid() == pid


async def test_a_removal_that_this_machine_hinders_is_parked_and_goes_on(world: World) -> None:
    await start(world)
    stop = world.driver.restore

    def refuse(*_: object, **__: object) -> None:
        raise HostError("processes do not end: 1", "look at what they wait for")

    world.driver.restore = refuse
    await unpin(world, "api")
    assert world.phases() == ["succeeded", "waiting"]
    assert [call for call in world.calls() if "processes do not end" in call]
    world.driver.restore = stop
    world.clock.move(timedelta(seconds=30))
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    assert world.answers() == ""


async def test_what_another_pinned_service_requires_is_not_removed_and_dependents_go_first(
    world: World,
) -> None:
    world.more = PRUNE
    world.release("1.0.0")
    world.release("1.0.0", service="web", more='requires: {api: ">=1.0.0"}\n')
    world.release("1.0.0", service="cron")
    for service in ("api", "cron", "web"):
        world.pin("1.0.0", service)
    world.merge("Start")
    await world.settle()
    await unpin(world, "api")
    assert world.answers() == "1.0.0"
    why = "web 1.0.0 runs and needs api >=1.0.0; api is pinned no longer"
    assert f"production: api 1.0.0 → nothing waits: {why}" == world.view().sentence

    world.pin(None, "web")
    world.merge("Remove web too")
    await world.settle()
    for service in ("web", "api"):
        await permits.approve(world.fleet, "production", service, actor="bob")
    await world.settle()
    stopped = [event for event in world.events() if event.startswith("succeeded")]
    assert stopped[-2:] == ["succeeded web", "succeeded api"]
    assert (world.answers(), world.answers("web"), world.answers("cron")) == ("", "", "1.0.0")


async def test_all_pins_removed_at_once_wait_for_an_approval_of_each(world: World) -> None:
    await start(world)
    await unpin(world, "api", "web")
    assert (world.answers(), world.answers("web")) == ("1.0.0", "1.0.0")
    [mine, other] = needs_person(world.fleet)
    guard = "2 of the 2 services of production would be removed at once: needs 1 approval, has none"
    assert mine == (
        f"production: api 1.0.0 → nothing waits: {guard}; to let it go, say `ugs approve production api`"
    )
    assert "web" in other
    assert len([call for call in world.calls() if guard in call]) == 2

    await permits.approve(world.fleet, "production", "api", actor="bob")
    await world.settle()
    # What is left of the commit is no smaller for it: web waits on.
    assert (world.answers(), world.answers("web")) == ("", "1.0.0")
    assert world.phases("web") == ["succeeded", "waiting"]


async def test_an_environment_that_disappears_stops_nothing_without_a_person(world: World) -> None:
    await start(world, "")
    pids = world.pid(), world.pid("web")
    await lose_the_environment(world)
    await world.restart()
    await world.settle()
    assert (world.pid(), world.pid("web")) == pids
    guard = "the repository has no environment production any more: needs 1 approval, has none"
    assert [
        sentence.partition(" waits: ")[2].partition("; ")[0] for sentence in needs_person(world.fleet)
    ] == [
        guard,
        guard,
    ]
    world.stop()  # a crash of all of it, or a reboot
    await world.settle()
    await world.eventually(lambda: world.answers() == "1.0.0")

    await permits.approve(world.fleet, "production", "api", actor="bob")
    await world.settle()
    assert (world.answers(), world.answers("web")) == ("", "1.0.0")
    world.stop("web")
    world.clock.move(timedelta(minutes=1))
    await world.settle()
    await world.eventually(lambda: world.answers("web") == "1.0.0")
    assert world.answers() == ""
    await permits.approve(world.fleet, "production", "web", actor="bob")
    await world.settle()
    assert world.answers("web") == ""
    assert [event for event in world.events() if event.startswith("environment-")] == [
        "environment-gone",
        "environment-removed",
    ]
    assert services_of(world) == []
    assert needs_person(world.fleet) == []


async def test_an_environment_that_comes_back_goes_on_as_if_nothing_had_been(world: World) -> None:
    await start(world)
    pid = world.pid()
    await lose_the_environment(world)
    world.merge("Put it back")
    await world.settle()
    assert world.pid() == pid
    assert world.phases() == ["succeeded", "cancelled"]
    assert needs_person(world.fleet) == []
    await world.restart()
    await world.settle()
    assert world.phases() == ["succeeded", "cancelled"]


async def test_what_does_not_come_back_with_its_environment_waits_for_a_person_each(world: World) -> None:
    await start(world, PRUNE, "api", "web", "queue")
    await lose_the_environment(world)
    for service in ("api", "web"):
        world.pin(None, service)
    world.merge("Put back what is left")
    await world.settle()
    assert "2 of the 3 services of production would be removed" in world.view("web").sentence
    await permits.approve(world.fleet, "production", "api", actor="bob")
    await world.settle()
    assert (world.answers(), world.answers("web"), world.answers("queue")) == ("", "1.0.0", "1.0.0")
    guard = "one push removes 2 of the 3 pins of production: needs 1 approval, has none"
    assert guard in world.view("web").sentence


@pytest.mark.fault("GT-18")
async def test_without_its_releases_everything_stays_exactly_as_it_is(world: World) -> None:
    await start(world)
    pid = world.pid()
    world.files |= {"releases/api/1.0.0.yaml": None, "releases/web/1.0.0.yaml": None}
    world.merge("Remove the releases")
    await world.settle()
    assert world.pid() == pid
    assert plan_of(world.fleet)["changes"] == []
    assert "left as it is" in world.view().sentence
    assert [sentence for sentence in needs_person(world.fleet) if "there is no release 1.0.0" in sentence]


@pytest.mark.fault("GT-17")
async def test_an_emptied_repository_and_a_deleted_branch_remove_nothing(world: World) -> None:
    await start(world)
    pid, tip = world.pid(), world.tip()
    world.files |= {ENVIRONMENT_FILE: None, "README.md": "Moved away.\n"}
    world.files |= {f"releases/{service}/1.0.0.yaml": None for service in ("api", "web")}
    world.merge("Move away")
    for _ in range(2):
        with pytest.raises(InputError, match="the repository was emptied"):
            await world.fleet.refresh()
        await world.settle(refresh=False)
    await world.restart()
    with pytest.raises(InputError, match="the repository was emptied"):
        await world.fleet.refresh()
    git(world.remote, "update-ref", "-d", "refs/heads/main")
    with pytest.raises(HostError, match="push the branch"):
        await world.fleet.refresh()
    await world.settle(refresh=False)
    assert world.pid() == pid
    assert world.phases() == ["succeeded"]
    assert [call for call in world.calls() if "the repository was emptied" in call]
    git(world.remote, "update-ref", "refs/heads/main", tip)
