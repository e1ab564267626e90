"""An environment gets another name: what runs there runs on untouched, and everything known of it goes along."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.engine import departure, people, permits, rename
from reconciler.engine.attention import needs_person
from reconciler.engine.ledger import Ledger
from reconciler.engine.paced import Piece
from reconciler.engine.permits import override
from reconciler.engine.status import status_of
from reconciler.model.slots import Hold, Rule
from reconciler.model.upgrade import Phase, Upgrade
from tests.drivers.services import kill_all
from tests.fleet_repository import ENVIRONMENT_FILE
from tests.world import World

pytestmark = pytest.mark.slow


def named(world: World, new: str, old: str | None, *, beside: bool = False) -> None:
    """Commit the environment under another name; `beside` the file that it had."""
    was = f"renamed_from: {old}\n" if old else ""
    text = world.environment().replace("environment: production\n", f"environment: {new}\n{was}")
    if not beside:
        world.files[ENVIRONMENT_FILE] = None
    world.files[f"environments/{new}.yaml"] = text
    world.merge(f"Name it {new}")


def upgrades(world: World, environment: str) -> list[Upgrade]:
    return world.core.store.upgrades(environment=environment)


def phases(world: World, environment: str = "staging") -> list[str]:
    return [upgrade.phase.value for upgrade in reversed(upgrades(world, environment))]


async def under_way(world: World) -> threading.Event:
    """1.0.0 runs, and 1.1.0 is being applied until the answer is set."""
    world.deploy_first("1.0.0")
    await world.settle()
    free = world.hold("apply")
    world.bump("1.1.0")
    await world.reach(Phase.APPLYING)
    return free


async def test_everything_goes_along_and_nothing_is_deployed_again(world: World) -> None:
    world.more = "policy: {approvals: {major: 2}}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    world.pin("1.0.0")
    bumped = world.bump("2.0.0")
    await world.settle()
    await permits.approve(world.fleet, "production", "api", actor="bob")
    permits.hold(world.fleet, "production", "api", actor="ada", reason="database move")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted", "waiting"]
    pid, good = world.pid(), world.core.store.good("production", "api")[0][0]

    named(world, "staging", "production")
    await world.settle()
    assert phases(world) == ["succeeded", "reverted", "waiting"]
    assert upgrades(world, "production") == []
    assert world.pid() == pid
    [kept] = [work for work, _ in world.core.store.good("staging", "api")]
    assert (kept.environment, kept.target) == ("staging", good.target)
    assert [row.target.version.text for row in world.core.store.quarantined("staging")] == ["1.1.0"]
    [here] = status_of(world.fleet, {})["environments"]
    [service] = here["services"]
    assert here["environment"] == "staging"
    assert service["instances"][0]["pid"] == int(pid)
    held, approval = "held by ada: database move", "needs 2 approvals, has 1 (bob)"
    assert service["sentence"] == f"staging: api 1.0.0 → 2.0.0 waits: {held}; {approval}"
    assert upgrades(world, "staging")[0].revision == bumped
    assert "staging goes on where production was" in world.told()
    assert world.reverts() != []

    # From there on it is an environment like others: the next step, and the way back.
    [hold] = world.core.store.permits("staging").holds
    permits.release_hold(world.fleet, hold.id, actor="ada")
    await permits.approve(world.fleet, "staging", "api", actor="eve")
    await world.settle()
    assert world.answers() == "2.0.0"
    await world.restart()
    world.release("2.1.0", "unhealthy")
    world.pin("2.1.0")
    named(world, "staging", "production")
    await world.settle()
    assert world.answers() == "2.0.0"
    assert phases(world)[-2:] == ["succeeded", "reverted"]
    assert 'api: "2.0.0"' in world.text("environments/staging.yaml")
    links = [path.name for path in (world.state / "services").iterdir() if path.is_symlink()]
    assert links == ["staging"]


async def test_it_waits_for_what_is_under_way_and_can_be_taken_back(world: World) -> None:
    free = await under_way(world)
    named(world, "staging", "production")
    await world.fleet.refresh()
    assert list(world.core.desired) == ["production"]
    free.set()
    await world.settle()
    await world.settle()
    assert list(world.core.desired) == ["staging"]
    assert phases(world) == ["succeeded", "succeeded"]
    pid = world.pid()

    world.files["environments/staging.yaml"] = None
    world.more = "renamed_from: staging\n"
    world.merge("Take the name back")
    await world.settle()
    assert world.pid() == pid
    assert world.phases() == ["succeeded", "succeeded"]
    world.bump("1.2.0")
    await world.settle()
    assert world.answers() == "1.2.0"

    world.more = ""
    named(world, "staging", None, beside=True)
    await world.settle()
    said = "staging was renamed to production, which goes on under it; choose another name"
    assert [text for text in needs_person(world.fleet) if said in text]
    assert list(world.core.desired) == ["production"]


async def in_a_chain_of_names(world: World) -> str:
    """What runs was started in production, which is called middle by now, and is to be called staging."""
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()
    named(world, "middle", "production")
    await world.settle()
    world.files["environments/middle.yaml"] = None
    named(world, "staging", "middle")
    return pid


async def test_a_chain_of_names_keeps_what_was_started_under_the_first(world: World) -> None:
    pid = await in_a_chain_of_names(world)
    await world.restart()
    await world.settle()
    assert (world.pid(), phases(world)) == (pid, ["succeeded"])
    world.files["environments/staging.yaml"] = None
    world.pin(None)
    world.more = "policy: {prune: true}\n"
    named(world, "staging", "middle")
    await world.settle()
    await permits.approve(world.fleet, "staging", "api", actor="bob")
    await world.settle()
    assert world.answers() == ""


async def test_the_first_name_of_a_chain_can_be_taken_back(world: World) -> None:
    pid = await in_a_chain_of_names(world)
    await world.settle()
    world.files["environments/staging.yaml"] = None
    world.more = "renamed_from: staging\n"
    world.merge("Take the name back")
    await world.settle()
    assert needs_person(world.fleet) == []
    assert (world.pid(), world.phases(), list(world.core.desired)) == (pid, ["succeeded"], ["production"])
    world.bump("1.1.0")
    await world.settle()
    assert world.answers() == "1.1.0"


async def test_what_a_person_begins_meanwhile_is_waited_for(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    await world.settle()
    named_too, back = world.hold("rename"), world.hold("restore")
    named(world, "staging", "production")
    refreshing = asyncio.ensure_future(world.fleet.refresh())
    await world.eventually(lambda: "production" not in world.core.desired)
    await people.rollback(world.fleet, "production", "api", actor="ada", reason="slow")
    named_too.set()
    await refreshing
    assert (phases(world), list(world.core.desired)) == ([], ["production"])
    back.set()
    await world.settle()
    await world.settle()
    assert (phases(world)[-1], list(world.core.desired)) == ("restored", ["staging"])
    assert [row.target.version.text for row in world.core.store.quarantined("staging")] == ["1.1.0"]
    assert world.answers() == "1.0.0"


async def test_a_slot_that_was_not_given_back_is_waited_for(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    slot = Hold("production", "api", "0" * 16, Rule("reboots"))
    world.core.store.hold_slot(slot)
    named(world, "staging", "production")
    await world.fleet.refresh()
    assert list(world.core.desired) == ["production"]
    world.core.store.let_slot_go(slot)
    await world.fleet.refresh()
    assert list(world.core.desired) == ["staging"]


async def test_old_and_new_side_by_side_are_an_error_that_names_both(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()
    named(world, "staging", "production", beside=True)
    await world.settle()
    [said] = needs_person(world.fleet)
    assert said == (
        "environments/staging.yaml:1:1: renamed_from: both production and staging exist; "
        "remove the files of production, or this line"
    )
    assert (world.pid(), list(world.core.desired)) == (pid, ["production"])
    named(world, "staging", "production")
    await world.settle()
    assert (world.pid(), list(world.core.desired)) == (pid, ["staging"])


async def test_a_former_name_that_nobody_knows_is_told_once_and_carries_nothing(world: World) -> None:
    world.release("1.0.0")
    world.pin("1.0.0")
    named(world, "staging", "elsewhere")
    await world.settle()
    await world.restart()
    await world.settle()
    said = "staging says that it was elsewhere, of which nothing is known here: nothing is carried over"
    assert world.told().count(said) == 1
    assert world.answers() == "1.0.0"


async def test_what_this_machine_hinders_is_tried_again(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid, taken = world.pid(), world.state / "services/staging/api"
    taken.mkdir(parents=True)
    named(world, "staging", "production")
    await world.settle()
    assert [text for text in needs_person(world.fleet) if "is there already" in text]
    assert list(world.core.desired) == ["production"]
    taken.rmdir()
    await world.settle()
    assert (world.pid(), list(world.core.desired)) == (pid, ["staging"])
    assert needs_person(world.fleet) == []


async def test_a_name_with_a_history_of_its_own_is_not_taken(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid, past = world.pid(), world.newest()
    assert past is not None
    world.core.store.record(replace(past, operation="0" * 16, environment="staging"), event="succeeded")
    named(world, "staging", "production")
    await world.settle()
    assert [text for text in needs_person(world.fleet) if "staging has a history of its own" in text]
    assert (world.pid(), list(world.core.desired)) == (pid, ["production"])


@pytest.mark.parametrize("beside", [False, True])
async def test_a_rename_loosens_no_gate(world: World, *, beside: bool) -> None:
    world.more = "policy: {approvals: {major: 1}}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    before = world.environment()
    world.more = ""
    world.release("2.0.0")
    world.pin("2.0.0")
    named(world, "staging", "production", beside=beside)
    if beside:  # whose pins and policy nobody follows yet
        world.files[ENVIRONMENT_FILE] = before
        world.merge("Keep the old one as it is")
        await world.settle()
        world.files[ENVIRONMENT_FILE] = None
        world.merge("Remove the old one")
    await world.settle()
    assert world.answers() == "1.0.0"
    assert "as it stood before the push that moved the pin" in upgrades(world, "staging")[0].reason


@pytest.mark.parametrize("former", ["staging", "ghost"])
async def test_no_two_environments_were_the_same_one_and_none_was_itself(world: World, former: str) -> None:
    world.deploy_first("1.0.0")
    text = "environment: {0}\nrenamed_from: {1}\ndriver: {{kind: process}}\n"
    world.files["environments/staging.yaml"] = text.format("staging", former)
    world.files["environments/third.yaml"] = text.format("third", former)
    world.merge("Too many names")
    await world.fleet.refresh()
    said = [text for text in needs_person(world.fleet) if "renamed_from" in text]
    assert len(said) == 2
    wanted = (
        "staging is its own name"
        if former == "staging"
        else "staging and third both say that they were ghost"
    )
    assert wanted in said[0]


async def test_two_that_say_they_were_the_same_leave_it_in_force(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()
    text = world.environment()
    for name in ("staging", "third"):
        said = f"environment: {name}\nrenamed_from: production\n"
        world.files[f"environments/{name}.yaml"] = text.replace("environment: production\n", said)
    world.files[ENVIRONMENT_FILE] = None
    world.merge("Too many names")
    for _ in range(2):
        await world.settle()
        assert (list(world.core.desired), world.phases()) == (["production"], ["succeeded"])
        assert len([text for text in needs_person(world.fleet) if "both say that they were" in text]) == 2
        await world.restart()
    kill_all(world.state)  # what crashes is started again, as ever
    await world.settle()
    await world.eventually(lambda: world.answers() == "1.0.0")
    world.files["environments/third.yaml"] = None
    named(world, "staging", "production")
    await world.settle()
    assert (world.pid() != pid, phases(world), list(world.core.desired)) == (True, ["succeeded"], ["staging"])
    assert (needs_person(world.fleet), world.core.store.marks(departure.STAYS)) == ([], {})


async def test_while_a_rename_waits_what_crashes_is_started_and_nothing_is_removed(world: World) -> None:
    world.more = "policy: {prune: true}\n"
    world.driver_yaml = "{kind: process}\ntimezone: Europe/Berlin"
    for service in ("api", "web", "worker"):
        world.release("1.0.0", service=service)
        world.pin("1.0.0", service)
    world.merge("Begin")
    await world.settle()
    world.pin(None, "web")
    world.more += "freezes: [{from: 2020-01-01, until: 2099-01-01, reason: quiet}]\n"
    world.merge("Remove web")
    await world.settle()
    assert phases(world, "production")[-1] == "waiting"
    taken = world.state / "services/staging/api"
    taken.mkdir(parents=True)
    world.pin("1.0.0", "web")
    named(world, "staging", "production")
    await world.settle()
    assert [text for text in needs_person(world.fleet) if "is there already" in text]
    await world.restart()
    kill_all(world.state)
    await world.settle()
    assert list(world.core.desired) == ["production"]
    override(world.fleet, "production", None, gate="freeze", actor="ada", reason="now", lasting="1h")
    await world.settle()
    await world.eventually(lambda: world.answers("web") == "1.0.0")
    taken.rmdir()
    await world.settle()
    assert (list(world.core.desired), world.answers("web")) == (["staging"], "1.0.0")


async def test_what_stays_behind_for_lack_of_trust_is_not_renamed(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    here = world.core.desired["production"]
    live = replace(here, environment=replace(here.environment, name="live", renamed_from="production"))
    there = {"production", "live"}
    done = await rename.carry_over(world.core, {"live": live}, here.revision, there, lambda _old: False)
    assert done.waiting == {"live": "production"}
    assert "production is there still" in str(done.problems[0])
    assert phases(world, "production") == ["succeeded"]


def in_a_row(world: World, *names: str) -> None:
    """Commit one name after the other, before anybody looks."""
    for old, new in itertools.pairwise(("production", *names)):
        world.files[f"environments/{old}.yaml"] = None
        named(world, new, old)


async def test_two_names_in_a_row_are_followed_in_one_fetch(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()
    in_a_row(world, "middle", "staging")
    await world.settle()
    assert (world.pid(), phases(world), list(world.core.desired)) == (pid, ["succeeded"], ["staging"])
    assert "staging goes on where production was" in world.told()
    assert (world.core.store.marks(departure.MARK), needs_person(world.fleet)) == ({}, [])
    await world.restart()
    await world.settle()
    assert (world.pid(), phases(world), needs_person(world.fleet)) == (pid, ["succeeded"], [])
    world.bump("1.1.0")
    named(world, "staging", "middle")
    await world.settle()
    assert (world.answers(), phases(world)) == ("1.1.0", ["succeeded", "succeeded"])


async def test_names_in_a_row_wait_for_what_is_under_way(world: World) -> None:
    free = await under_way(world)
    in_a_row(world, "middle", "staging")
    await world.fleet.refresh()
    assert (list(world.core.desired), world.core.store.marks(departure.MARK)) == (["production"], {})
    free.set()
    await world.settle()
    await world.settle()
    assert (list(world.core.desired), phases(world)) == (["staging"], ["succeeded", "succeeded"])
    assert world.answers() == "1.1.0"


async def test_a_name_given_and_taken_back_in_one_fetch_is_nothing(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()
    in_a_row(world, "middle", "production")
    for _ in range(2):
        await world.settle()
        assert (world.pid(), world.phases(), list(world.core.desired)) == (pid, ["succeeded"], ["production"])
        assert (needs_person(world.fleet), world.core.store.marks(rename.NEVER_MARK)) == ([], {})
        await world.restart()


async def test_names_in_a_row_loosen_no_gate(world: World) -> None:
    world.more = "policy: {approvals: {major: 1}}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    world.more = ""
    in_a_row(world, "middle")
    world.release("2.0.0")
    world.pin("2.0.0")
    world.files["environments/middle.yaml"] = None
    named(world, "staging", "middle")
    await world.settle()
    assert world.answers() == "1.0.0"
    assert "as it stood before the push that moved the pin" in upgrades(world, "staging")[0].reason


async def test_a_slip_in_a_former_name_starts_nothing_beside_what_lost_its_file(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()
    named(world, "staging", "prodction")
    for _ in range(2):
        await world.settle()
        [said] = [text for text in needs_person(world.fleet) if "prodction" in text]
        assert said == (
            "environments/staging.yaml:1:1: environment: nothing is known here of prodction, and production has no "
            "file any more, and runs on; write renamed_from: production if that is what it was, else remove the line"
        )
        assert (world.pid(), list(world.core.desired)) == (pid, ["production"])
        assert not (world.state / "services/staging").exists()
        await world.restart()
    named(world, "staging", "production")
    await world.settle()
    assert (world.pid(), list(world.core.desired)) == (pid, ["staging"])
    assert phases(world) == ["succeeded", "cancelled"]  # the removal of what had lost its file
    assert needs_person(world.fleet) == []


async def test_a_former_name_left_from_before_starts_nothing_beside_what_runs(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()
    named(world, "middle", "production")
    await world.settle()
    world.files["environments/middle.yaml"] = None
    named(world, "staging", "production")
    await world.settle()
    [said] = [text for text in needs_person(world.fleet) if "staging" in text]
    assert said == (
        "environments/staging.yaml:1:1: environment: production has been called middle since; "
        "write renamed_from: middle if that is what it was, else remove the line"
    )
    assert (world.pid(), list(world.core.desired)) == (pid, ["middle"])
    named(world, "staging", "middle")
    await world.settle()
    assert (world.pid(), list(world.core.desired)) == (pid, ["staging"])
    assert phases(world) == ["succeeded", "cancelled"]


async def test_what_is_in_force_stays_so_whatever_is_written_of_its_past(world: World) -> None:
    """A line that comes later, and names what never was, while something else loses its file."""
    world.deploy_first("1.0.0")
    await world.settle()
    world.files[ENVIRONMENT_FILE] = world.environment()
    world.files["environments/staging.yaml"] = "environment: staging\ndriver: {kind: process}\n"
    world.merge("An empty one beside it")
    await world.settle()
    assert sorted(world.core.desired) == ["production", "staging"]
    named(world, "staging", "prodction")
    await world.settle()
    assert sorted(world.core.desired) == ["production", "staging"]
    assert not [text for text in needs_person(world.fleet) if "prodction" in text]
    assert any("staging says that it was prodction" in text for text in world.told())


@pytest.mark.parametrize("where", [Ledger.retire, Piece.rest])
async def test_what_is_being_decided_is_not_recorded_under_a_name_given_up_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch, where: Callable[..., Awaitable[Any]]
) -> None:
    """Be it before the first change is looked at or between two of them."""
    world.more = "policy: {approvals: {major: 1}}\n"
    services = ("api", "web")
    for service in services:
        world.release("1.0.0", service=service)
        world.pin("1.0.0", service)
    world.merge("Begin")
    await world.settle()
    for service in services:
        world.release("2.0.0", service=service)
        world.pin("2.0.0", service)
    world.merge("Bump both")
    await world.fleet.refresh()

    async def called(*arguments: Any) -> Any:
        if of is Piece and "waiting" not in phases(world, "production"):
            return False
        monkeypatch.setattr(of, where.__name__, where)
        named(world, "staging", "production")
        await world.fleet.refresh()
        return await where(*arguments) if of is Ledger else True

    of = Ledger if where is Ledger.retire else Piece
    monkeypatch.setattr(of, where.__name__, called)
    if of is Piece:
        monkeypatch.setattr(Piece, "over", property(lambda _piece: True))
    await world.fleet.passes["production"].once()
    assert upgrades(world, "production") == []
    await world.a_pass()
    assert sorted(phases(world)) == ["succeeded", "succeeded", "waiting", "waiting"]


async def test_what_git_tells_of_all_former_names_is_of_the_one_now(world: World) -> None:
    """Also where the file says one of them alone, and the daemon has just started."""
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    await world.settle()
    await world.deliver()
    await world.restart()
    in_a_row(world, "middle", "staging")
    await world.settle()
    await world.settle()
    assert world.core.store.recoveries() == {}
    assert not world.core.store.knows("production")
    assert (list(world.core.desired), world.answers()) == (["staging"], "1.1.0")
