"""One of several hosts, the others being what they publish: what it publishes itself, and what it does about them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from reconciler.engine import people, permits
from reconciler.engine.attention import needs_person
from reconciler.engine.exchange import Exchange
from reconciler.engine.status import status_of
from reconciler.git import GitRegister, Identity, Remote
from reconciler.model.circumstances import Asked
from reconciler.model.codec import decode, encode
from reconciler.model.desired import Desired
from reconciler.model.hosts import Outcome, Report, Reports, Rollout, Rollouts, Shut
from reconciler.model.plan import Change
from reconciler.model.register import ABSENT, Move
from reconciler.model.upgrade import Phase
from tests.git.colleague import AT, ENVIRONMENT, git
from tests.world import World

pytestmark = pytest.mark.slow

ROUNDS_MAX = 20
MIGRATED = """\
backup: {save: [touch, "{backup}"], verify: [test, -e, "{backup}"], restore: [test, -e, "{backup}"]}
migrations: [{id: m1, phase: before, up: [touch, "{state}/ran"], down: ["true"]}]
"""


class Others:
    """The other hosts, and the daemon of this one."""

    def __init__(self, world: World) -> None:
        self.world = world
        remote = Remote(str(world.remote), environment=ENVIRONMENT)
        path = world.folder / "others.git"
        self.register = GitRegister(path, remote, Identity("R", "r@x"), network_timeout_s=60, root="")
        self.exchange = Exchange(world.core, world.fleet)

    def put(self, ref: str, text: str) -> None:
        before, _ = self.register.read(ref).get(ref, (ABSENT, ""))
        assert isinstance(self.register.swap({ref: Move(before, "by hand", text)}, at=AT)[ref], str)

    def text(self, ref: str) -> str:
        return self.register.read(ref).get(ref, (ABSENT, "{}"))[1]

    def known(self) -> Rollouts:
        return decode(self.text("rollout/production"), Rollouts)

    def rollout(self, service: str = "api") -> Rollout:
        return self.known().rollouts[service]

    def own(self) -> Report:
        return decode(self.text("hosts/production/h1"), Reports).reports["api"]

    def say(self, outcome: Outcome, host: str = "h2", service: str = "api") -> None:
        """What another host says came of the newest rollout."""
        report = Report(self.rollout(service).operation, outcome, "probe: 500" if outcome == "failed" else "")
        self.put(f"hosts/production/{host}", encode(Reports({service: report})).decode())

    async def rest(self) -> None:
        """Pass, and exchange what is new, until nothing is."""
        for _ in range(ROUNDS_MAX):
            await self.world.settle()
            if not await self.exchange.round():
                return
        raise AssertionError("there is always news")

    async def until(self, condition: Callable[[], object]) -> None:
        """Exchange what is new, without waiting for what is under way."""
        for _ in range(ROUNDS_MAX * 10):
            await self.world.a_pass()
            await self.exchange.round()
            if condition():
                return
        raise AssertionError("what was waited for did not happen")


@asynccontextmanager
async def of(
    world: World, *, hosts: str = "[h1, h2]", strategy: str = "{}", more: str = ""
) -> AsyncIterator[Others]:
    world.host, world.leased = "h1", True
    world.more = f"hosts: {hosts}\nstrategy: {strategy}\n{more}"
    world.deploy_first("1.0.0")
    async with world.holding():
        others = Others(world)
        await others.rest()
        yield others


async def everywhere(others: Others) -> None:
    """What is on its way has arrived on the other hosts too."""
    others.say("succeeded")
    others.say("succeeded", "h3")
    await others.rest()
    assert others.rollout().state == "succeeded"


async def being_verified(world: World, others: Others) -> None:
    """1.1.0 is proving itself here, for hours."""
    await everywhere(others)
    world.bump("1.1.0", soak="1h", deadline="2h")
    await world.fleet.refresh()
    await others.until(lambda: (newest := world.newest()) and newest.phase is Phase.VERIFYING)


async def test_it_publishes_what_began_what_came_of_it_and_that_all_have_it(world: World) -> None:
    async with of(world) as others:
        assert world.answers() == "1.0.0"
        assert (others.rollout().state, others.rollout().from_, others.own().outcome) == (
            "running",
            None,
            "succeeded",
        )
        [here] = status_of(world.fleet, {})["environments"]
        assert here["hosts"] == {"name": "h1", "sentence": "api 1.0.0 is on its way to the hosts"}
        await everywhere(others)
        await world.deliver()
    assert "production: api 1.0.0 runs on every host" in world.told()
    notes = git(world.remote, "log", "-1", "--format=%N", "--notes=ugs", "main")
    assert [line["outcome"] for line in map(json.loads, notes.split("\n")) if line] == ["succeeded"]


async def test_a_failure_elsewhere_reverts_once_takes_back_what_runs_and_stays_shut(world: World) -> None:
    async with of(world) as others:
        await everywhere(others)
        world.bump("1.1.0")
        await others.rest()
        assert world.answers() == "1.1.0"
        good = world.core.store.good("production", "api")
        assert [work.target.version.text for work, _ in good] == ["1.1.0", "1.0.0"]
        others.say("failed")
        await others.rest()
        assert world.answers() == "1.0.0"
        assert world.reverts() == [world.tip()]
        rollout = others.rollout()
        assert (rollout.state, rollout.commit, rollout.reason) == (
            "reverted",
            world.tip(),
            "on h2: probe: 500",
        )
        assert [row.operation for row in world.core.store.quarantined("production")] == [rollout.operation]
        assert [phase for phase in world.phases() if phase == "cancelled"] == ["cancelled"]

        await people.retry(world.fleet, "production", "api", actor="ada")
        await others.rest()
        assert world.answers() == "1.1.0"
        assert others.known().shut == ()
        assert others.rollout().operation != rollout.operation
    assert world.reverts() == [rollout.commit]


async def test_what_was_taken_back_while_a_pass_decides_is_not_changed_by_what_it_had_seen(
    world: World,
) -> None:
    async with of(world) as others:
        await everywhere(others)
        world.bump("1.1.0")
        await others.rest()
        others.say("failed")
        weigher = world.fleet.passes["production"].weigher
        weigh = weigher.all_asked

        async def all_asked(desired: Desired, changes: Sequence[Change]) -> dict[str, Asked]:
            """Takes so long that what was begun in this pass has ended meanwhile."""
            await world.rest()
            return await weigh(desired, changes)

        with patch.object(weigher, "all_asked", all_asked):
            await others.rest()
        assert world.answers() == "1.0.0"
        assert world.phases() == ["succeeded", "succeeded", "cancelled"]


async def test_its_own_failure_is_restored_and_reported_and_the_pin_goes_back(world: World) -> None:
    async with of(world) as others:
        await everywhere(others)
        world.bump("1.1.0", "unhealthy")
        await others.rest()
        assert world.answers() == "1.0.0"
        assert world.phases() == ["succeeded", "restored"]
        assert (others.rollout().state, others.rollout().reason[:6]) == ("reverted", "on h1:")
    assert world.reverts() == [world.tip()]


async def test_so_many_failures_are_borne(world: World) -> None:
    async with of(world, hosts="[h1, h2, h3]", strategy="{failures: 2}") as others:
        await everywhere(others)
        world.bump("1.1.0", "unhealthy")
        await others.rest()
        assert (others.own().outcome, others.rollout().state, world.reverts()) == ("failed", "running", [])
        others.say("failed")
        await others.rest()
        assert others.rollout().state == "reverted"


async def test_what_is_under_way_ends_when_it_has_failed_elsewhere(world: World) -> None:
    async with of(world) as others:
        await being_verified(world, others)
        others.say("failed")
        await others.until(lambda: (newest := world.newest()) and newest.phase is Phase.CANCELLED)
        await others.rest()
        assert world.answers() == "1.0.0"
        assert world.phases() == ["succeeded", "cancelled"]


async def test_a_first_deployment_that_failed_elsewhere_is_stopped_here(world: World) -> None:
    async with of(world) as others:
        others.say("failed")
        await others.rest()
        assert world.answers() == ""
        assert others.rollout().state == "reverted"
    assert "pins: {}" in world.pinned()


async def test_without_reverts_it_stops_and_what_has_moved_stays(world: World) -> None:
    async with of(world, more="policy: {revert: off}\n") as others:
        await everywhere(others)
        world.bump("1.1.0")
        await others.rest()
        others.say("failed")
        await others.rest()
        assert (world.answers(), others.rollout().state, world.reverts()) == ("1.1.0", "left", [])
        assert "policy.revert is off" in others.rollout().reason


async def test_a_person_takes_it_back_on_all_hosts_from_one(world: World) -> None:
    async with of(world, strategy="{failures: 2}") as others:
        await everywhere(others)
        world.bump("1.1.0")
        await others.rest()
        await everywhere(others)
        await people.rollback(world.fleet, "production", "api", actor="ada", reason="slow")
        await others.rest()
        assert world.answers() == "1.0.0"
        assert others.rollout().state == "reverted"
        assert "rolled back by ada: slow" in others.rollout().reason


async def test_a_pin_that_a_person_moved_back_calls_it_off(world: World) -> None:
    async with of(world) as others:
        await everywhere(others)
        world.bump("1.1.0")
        await others.rest()
        world.pin("1.0.0")
        world.merge("Back")
        await others.rest()
        assert (world.answers(), others.rollout().state) == ("1.0.0", "withdrawn")
    assert world.reverts() == []


async def test_it_waits_for_another_that_sees_to_the_data_and_leaves_that_to_it(world: World) -> None:
    async with of(world) as others:
        await everywhere(others)
        world.bump("1.1.0", more=MIGRATED.replace("{state}", str(world.state)))
        await world.fleet.refresh()
        await others.until(lambda: others.rollout().to.version.text == "1.1.0")
        assert (others.rollout().first, world.newest() is not None) == ("h1", True)
        await others.rest()
        assert (world.state / "ran").exists()
        assert others.rollout().proven
        upgrade = world.newest()
        assert upgrade is not None
        assert upgrade.leads


async def test_what_is_not_ours_in_the_references_stops_and_is_named(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with of(world) as others:
        await everywhere(others)
        others.put("rollout/production", '{"rollouts": 7}')
        assert await others.exchange.tried() is False
        assert "which refs/ugs/rollout/production names, cannot be read" in caplog.text


async def test_a_machine_that_is_not_listed_looks_at_nothing(world: World) -> None:
    world.host, world.leased = "h9", True
    world.more = "hosts: [h1, h2]\n"
    world.deploy_first("1.0.0")
    await world.settle()
    assert await Exchange(world.core, world.fleet).round() is False
    assert world.fleet.passes["production"].observed == {}
    said = "production: this machine, h9, is not one of its hosts (h1, h2), and does nothing here; add it there, or"
    assert any(text.startswith(said) for text in needs_person(world.fleet))
    assert world.answers() == ""


async def test_what_failed_on_all_hosts_is_not_begun_again_by_who_has_only_just_heard_of_it(
    world: World,
) -> None:
    async with of(world) as others:
        await everywhere(others)
        world.bump("1.1.0")
        await world.fleet.refresh()
        await world.a_pass()  # nothing is known against it yet
        target = world.core.desired["production"].workloads["api"].target
        failed = Shut("0123456789abcdef", "api", target, "on h2: probe: 500", AT)
        others.put("rollout/production", encode(replace(others.known(), shut=(failed,))).decode())
        await others.exchange.round()
        await others.rest()
        assert others.known().shut == (failed,)
        assert (world.answers(), others.rollout().to.version.text) == ("1.0.0", "1.0.0")


async def test_a_rollout_does_not_begin_while_its_gates_are_still_being_asked(world: World) -> None:
    async with of(world) as others:
        await everywhere(others)
        permits.hold(world.fleet, "production", None, actor="ada", reason="look")
        world.bump("1.1.0")
        await world.fleet.refresh()
        deciding, rounds = world.fleet.passes["production"].deciding, list[bool]()
        decide = deciding.start

        async def slowly(*what: Any) -> Any:
            told = await decide(*what)
            rounds.append(await others.exchange.round())
            return told

        with patch.object(deciding, "start", slowly):
            await world.a_pass()
        assert rounds
        assert others.rollout().to.version.text == "1.0.0"


async def test_a_rollout_asks_its_gates_while_something_else_is_on_its_way_here(world: World) -> None:
    async with of(world) as others:
        await being_verified(world, others)
        permits.hold(world.fleet, "production", None, actor="ada", reason="look")
        world.bump("1.2.0")
        await world.fleet.refresh()
        await world.a_pass()
        await others.exchange.round()
        assert others.rollout().to.version.text == "1.1.0"


async def test_what_failed_is_not_begun_again_because_the_way_there_is_free(world: World) -> None:
    async with of(world) as others:
        await everywhere(others)
        world.release("1.1.0")
        world.bump("2.0.0", more='upgrade: {from: ">=1.1.0"}\n')
        await world.fleet.refresh()
        await others.until(lambda: others.rollout().to.version.text == "2.0.0")
        others.say("failed")
        await others.rest()
        assert (others.rollout().state, world.answers()) == ("reverted", "1.0.0")
        failed = others.known().shut
        world.pin("2.0.0")
        world.merge("Again")
        await others.rest()
        assert others.known().shut == failed
        assert (world.answers(), len(world.reverts())) == ("1.0.0", 1)
        assert "2.0.0 failed here before" in world.view().sentence


async def test_what_it_moved_last_is_told_though_another_host_has_the_lease_by_then(world: World) -> None:
    async with of(world) as others:
        await everywhere(others)
        moved = replace(others.rollout(), state="withdrawn", by="h1")
        others.put("rollout/production", encode(Rollouts({"api": moved})).decode())
        standing = world.core.leases.standing

        def lost(name: str) -> str:
            return "elsewhere" if name == "production" else standing(name)

        with patch.object(world.core.leases, "standing", lost):
            await others.exchange.round()
        await world.deliver()
    assert "production: api 1.0.0 is called off: its pin was moved back" in world.told()
