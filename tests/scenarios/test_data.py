"""A service's data: saved before it is touched, migrated, and taken back with the version that failed."""

from __future__ import annotations

import shutil
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from reconciler.engine.attention import needs_person
from reconciler.engine.people import Conflict, rollback, settle_migration
from reconciler.engine.permits import override
from reconciler.engine.status import data_of
from reconciler.model.upgrade import Phase
from tests.drivers.services import kill_all
from tests.git.colleague import git
from tests.shop import Shop
from tests.world import World


@pytest.fixture
async def shop(world: World) -> Shop:
    world.deploy_first("1.0.0")
    await world.settle()
    return Shop(world)


@pytest.mark.shows("process", "commands")
async def test_data_is_saved_and_verified_and_then_migrated_before_and_after(
    world: World, shop: Shop
) -> None:
    ledger, pid = shop.ledger, world.pid()
    started: list[str] = []
    world.at["apply:begun"] = lambda: started.append(f"{world.pid() == pid} {ledger.tables()}")
    late, early = ledger.migration("late", "after"), ledger.migration("early")
    shop.bump("1.1.0", late, early)
    await world.settle()

    assert world.phases() == ["succeeded", "succeeded"]
    assert started == ["True ['orders', 'early']"]
    assert ledger.tables() == ["orders", "early", "late"]
    assert ledger.calls() == ["save data", "verify data", "up early", "check early", "up late", "check late"]
    data = ["backup", "backup-verify", "before:early", "check:early", "apply", "after:late", "check:late"]
    assert shop.steps() == ["artifact", "restorable", "preflight", *data, "settle", "tidy"]
    assert shop.states() == {"early": "done", "late": "done"}
    [backup] = world.core.store.backups("production", "api")
    assert (backup.kind, backup.state, backup.version) == ("upgrade", "verified", "1.0.0")
    assert [Path(backup.path)] == shop.kept()
    assert not list(world.state.glob("errands/*/*/*.json"))

    world.forget()
    for file in world.state.glob("ugs.db*"):  # what ran before UGS came has its migrations behind it
        file.unlink()
    shutil.rmtree(world.state / "mirror.git")
    git(world.remote, "update-ref", "-d", "refs/notes/ugs")
    await world.settle()
    shop.bump("1.2.0", late, early, ledger.migration("more"))
    await world.settle()
    assert world.answers() == "1.2.0"
    assert ledger.calls() == ["save data", "verify data", "up more", "check more"]


async def test_a_migration_that_fails_is_taken_back_and_reverted_while_the_old_version_runs_on(
    world: World, shop: Shop
) -> None:
    ledger, pid = shop.ledger, world.pid()
    ledger.mood("up", "second", "fail")
    first, second = (ledger.migration(name, without="check") for name in ("first", "second"))
    shop.bump("1.1.0", first, second)
    await world.settle()

    assert world.phases() == ["succeeded", "reverted"]
    assert (world.answers(), world.pid()) == ("1.0.0", pid)
    assert ledger.tables() == ["orders"]
    assert ledger.calls()[2:] == ["up first", "up second", "down first"]
    assert shop.states() == {"first": "undone", "second": "failed"}
    assert len(world.reverts()) == 1
    assert "migration second failed: exit code 1: it does not want to" in world.told()[-1]


async def test_a_way_through_two_releases_migrates_hop_by_hop_and_takes_back_the_failed_hop_in_reverse(
    world: World, shop: Shop
) -> None:
    ledger = shop.ledger
    running: list[str] = []
    world.at["undo:c:begun"] = lambda: running.append(world.answers())
    shop.bump("1.1.0", ledger.migration("one", without="down"), pin=False)
    hop = [ledger.migration("c", "after"), ledger.migration("a"), ledger.migration("b", without="check")]
    shop.bump("1.2.0", *hop, mode="unhealthy", more='upgrade: {from: ">=1.1.0"}\n')
    await world.settle()

    assert world.phases() == ["succeeded", "succeeded", "reverted"]
    assert running == [""]
    assert [call for call in ledger.calls() if call.startswith("down")] == ["down c", "down b", "down a"]
    assert (ledger.tables(), world.answers()) == (["orders", "one"], "1.1.0")
    backups = [(one.version, one.state) for one in world.core.store.backups("production", "api")]
    assert backups == [("1.1.0", "verified"), ("1.0.0", "verified")]


@pytest.mark.parametrize("who", ["probes", "a person"])
async def test_what_cannot_be_undone_leaves_the_new_version_running_and_calls_a_person(
    world: World, shop: Shop, who: str
) -> None:
    early = shop.ledger.migration("early", without="down")
    if who == "probes":
        shop.bump("1.1.0", early, mode="unhealthy")
    else:
        shop.bump("1.1.0", early, soak="20s", deadline="1m")
        await world.reach(Phase.VERIFYING)
        await rollback(world.fleet, "production", "api", actor="ada", reason="orders are lost")
    await world.settle()

    assert world.phases() == ["succeeded", "stuck"]
    await world.eventually(lambda: world.answers() == "1.1.0")
    assert shop.ledger.tables() == ["orders", "early"]
    assert not world.reverts()
    assert "1.1.0 has no `down` for it, and no backup is brought back by itself" in world.calls()[-1]
    [hold] = world.core.store.permits("production").holds
    assert (hold.service, hold.owner) == ("api", "ugs: data")


async def test_what_is_not_reversible_is_held_where_its_data_were_migrated(world: World, shop: Shop) -> None:
    """So that a reboot does not start the old version on them."""
    early = shop.ledger.migration("early", without="down")
    shop.bump("1.1.0", early, mode="unhealthy", more="upgrade: {reversible: false}\n")
    await world.settle()
    assert world.phases() == ["succeeded", "stuck"]
    [hold] = world.core.store.permits("production").holds
    assert (hold.service, hold.owner) == ("api", "ugs: data")
    kill_all(world.state)
    await world.restart()
    await world.settle()
    assert (world.answers(), shop.ledger.tables()) == ("", ["orders", "early"])


async def test_a_down_that_fails_starts_nothing_until_a_person_has_looked(world: World, shop: Shop) -> None:
    shop.ledger.mood("down", "early", "fail")
    shop.bump("1.1.0", shop.ledger.migration("early"), mode="unhealthy")
    await world.settle()

    assert world.phases() == ["succeeded", "stuck"]
    assert world.answers() == ""
    [revert] = world.reverts()
    assert "A person has to look at what runs." in world.text_of(revert)
    assert "could not be undone: exit code 1: it does not want to" in world.calls()[-1]
    [hold] = world.core.store.permits("production").holds
    hurry = partial(override, world.fleet, gate="hold", actor="ada", reason="hurry", lasting="1h")
    with pytest.raises(Conflict, match="held for the sake of its data, and no override passes by that"):
        hurry("production", "api")
    hurry("production", None)
    await world.a_pass()
    await world.rest()
    assert (world.answers(), "api" in world.fleet.passes["production"].running) == ("", False)
    world.core.store.release_hold(hold.id, by="ada")
    await world.a_pass()
    await world.eventually(lambda: world.answers() == "1.0.0")


async def test_what_nobody_knows_is_stuck_until_a_person_settles_it(world: World, shop: Shop) -> None:
    ledger, pid = shop.ledger, world.pid()
    ledger.mood("up", "early", "die")
    early = ledger.migration("early", without="check")
    shop.bump("1.1.0", early)
    await world.settle()
    assert world.phases() == ["succeeded", "stuck"]
    assert (world.answers(), world.pid(), ledger.tables()) == ("1.0.0", pid, ["orders", "early"])
    assert len(world.reverts()) == 1
    assert "nobody knows whether migration early is applied: ended by signal 9" in world.calls()[-1]
    assert any("migrations settle" in sentence for sentence in needs_person(world.fleet))

    ledger.better()
    shop.bump("1.1.1", early)
    await world.settle()
    assert world.phases()[-1] == "waiting"
    assert "say `ugs migrations settle production api early" in world.calls()[-1]
    here = world.fleet.passes["production"]
    assert [one["id"] for one in data_of(here, here.told["api"][0])["migrations"]] == ["early"]

    def settle(name: str) -> None:
        settle_migration(world.fleet, "production", "api", name, applied=True, actor="ada", why="I looked")

    with pytest.raises(Conflict, match="migration other is not on record"):
        settle("other")
    settle("early")
    world.clock.move(timedelta(minutes=1))
    await world.settle()
    assert world.phases()[-1] == "succeeded"
    assert not ledger.called("up late")


@pytest.mark.fault("CR-13")
async def test_a_stop_leaves_a_migration_running_and_a_newer_pin_waits_until_its_version_is_proven(
    world: World, shop: Shop
) -> None:
    ledger = shop.ledger
    ledger.mood("up", "early", "hang")
    shop.bump("1.1.0", ledger.migration("early", without="check"), soak="500ms")
    await world.reach(Phase.APPLYING)
    await world.eventually(lambda: ledger.called("up early"))
    await world.stopped()
    assert world.phases() == ["succeeded", "applying"]
    assert shop.states() == {"early": "begun"}

    await world.fleet.start()
    ledger.better()
    await world.until(Phase.VERIFYING)
    world.bump("1.2.0")
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded", "succeeded"]
    assert ledger.calls().count("up early") == 1
    assert shop.states() == {"early": "done"}
