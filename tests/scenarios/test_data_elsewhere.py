"""What is known of a service's data by who has forgotten what was done to them, or was not there."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.engine.attention import needs_person
from reconciler.engine.permits import hold, release_hold
from reconciler.engine.recovery import accept
from reconciler.model.lease import Claim
from reconciler.model.upgrade import Phase
from tests.git.colleague import git
from tests.rival import Rival, a_third_passes, bob_gives_it_back, bob_takes_it, tell
from tests.shop import Shop
from tests.world import World

pytestmark = pytest.mark.slow

NO_NOTES = """\
#!/bin/sh
case "$1" in refs/notes/*) echo "no notes here" >&2; exit 1;; esac
"""


@pytest.fixture
def shop(world: World) -> Shop:
    world.deploy_first("1.0.0")
    return Shop(world)


@pytest.fixture
def rival(world: World) -> Rival:
    world.leased = True
    return Rival(world)


def forget_everything(world: World) -> None:
    world.forget()
    for file in world.state.glob("ugs.db*"):
        file.unlink()


def lose_notes(world: World) -> None:
    """Nobody was ever told of anything."""
    shutil.rmtree(world.state / "mirror.git")
    git(world.remote, "update-ref", "-d", "refs/notes/ugs")


def refuse_notes(world: World) -> Path:
    """The remote's hook that does."""
    hook = world.remote / "hooks/update"
    hook.write_text(NO_NOTES)
    hook.chmod(0o755)
    return hook


async def bob_takes_it_again(world: World, rival: Rival) -> None:
    """And gives it back."""
    claim = rival.claim()
    assert claim is not None
    rival.takes(Claim("b0b", "web-2", claim.epoch + 1, 0, 90.0))
    await a_third_passes(world)
    assert world.core.leases.standing("production") == "elsewhere"
    rival.gives_back(claim.epoch + 1)
    await a_third_passes(world)


def reason(world: World) -> str:
    newest = world.newest()
    assert newest is not None
    return newest.reason


async def forgotten(world: World, shop: Shop, *steps: tuple[str, str]) -> None:
    """Each step brings a version and a migration more, of which Git is told; then the database is gone."""
    await world.settle()
    done: list[str] = []
    for version, name in steps:
        done.append(name)
        shop.bump(version, *(shop.ledger.migration(one) for one in done))
        await world.settle()
    await world.deliver()
    forget_everything(world)
    await world.settle()
    accept(world.core, world.fleet.passes, None, actor="ada")
    shop.ledger.calls()


async def the_second_alone_is_applied(world: World, shop: Shop) -> None:
    """As a release with two migrations is pinned after the database was lost, and a person accepts what is known."""
    shop.ledger.calls()
    shop.bump("1.1.0", shop.ledger.migration("first"), shop.ledger.migration("second"))
    await world.settle()
    accept(world.core, world.fleet.passes, None, actor="ada")
    await world.settle()
    assert world.answers() == "1.1.0"
    assert shop.ledger.calls()[:3] == ["save data", "verify data", "up second"]


@pytest.mark.fault("DB-06")
async def test_who_lost_the_database_applies_no_migration_again(world: World, shop: Shop) -> None:
    await forgotten(world, shop, ("1.1.0", "first"), ("1.2.0", "second"))
    assert shop.states() == {"first": "done", "second": "done"}

    shop.bump("1.3.0", *map(shop.ledger.migration, ("first", "second", "third")))
    await world.settle()
    assert world.answers() == "1.3.0"
    assert [call for call in shop.ledger.calls() if call.startswith("up")] == ["up third"]


async def test_what_was_told_before_migrations_were_is_known_by_what_proved_healthy(
    world: World, shop: Shop
) -> None:
    """As older versions of UGS wrote it; and nothing runs that could tell of it."""
    no_notes = refuse_notes(world)
    await world.settle()
    for version, names in (("1.1.0", ("first",)), ("1.2.0", ("first", "second"))):
        shop.bump(version, *map(shop.ledger.migration, names))
        await world.settle()
    no_notes.unlink()
    forget_everything(world)
    shutil.rmtree(world.state / "mirror.git")
    await world.fleet.refresh()
    await tell(world, world.tip(), Phase.SUCCEEDED)
    forget_everything(world)
    world.stop()

    await world.settle()
    assert shop.states() == {"first": "done", "second": "done"}


@pytest.mark.fault("DB-06")
async def test_a_new_version_that_could_not_be_taken_back_keeps_its_data_and_is_held(
    world: World, shop: Shop
) -> None:
    await world.settle()
    shop.bump("1.1.0", shop.ledger.migration("first", without="down"), mode="unhealthy")
    await world.settle()
    assert world.phases()[-1] == "stuck"
    await world.deliver()
    forget_everything(world)

    await world.settle()
    assert shop.states() == {"first": "done"}
    [why] = [
        call.partition(" is held: ")[2] for call in world.calls() if call.startswith("production/api is held")
    ]
    assert "migration first is applied, 1.1.0 has no `down` for it" in why
    accept(world.core, world.fleet.passes, None, actor="ada")
    world.stop()
    await world.settle()
    assert world.answers() == "", "the old version is not started on data that are not its own"
    assert [gate.reason for gate in world.view().gates if gate.gate == "hold"] == [
        f"held by ugs: data: {why}"
    ]


@pytest.mark.fault("DB-07")
async def test_what_was_done_to_data_since_a_copy_was_made_of_the_database_nobody_knows(
    world: World, shop: Shop
) -> None:
    """In the copy the migration is applied; it has been taken back since, and Git was not told yet."""
    await world.settle()
    older = world.folder / "older.db"

    def copy() -> None:
        with (
            closing(sqlite3.connect(world.state / "ugs.db")) as now,
            closing(sqlite3.connect(older)) as kept,
        ):
            now.backup(kept)

    world.at["stop:begun"] = copy
    shop.bump("1.1.0", shop.ledger.migration("first"), mode="unhealthy")
    await world.settle()
    assert (world.answers(), shop.states()) == ("1.0.0", {"first": "undone"})
    forget_everything(world)
    older.rename(world.state / "ugs.db")

    await world.settle()
    assert shop.states() == {"first": "unknown"}


@pytest.mark.fault("DB-06")
async def test_what_runs_healthy_tells_of_what_came_before_it_and_of_nothing_after(
    world: World, shop: Shop
) -> None:
    """Of this upgrade Git was told that it began, and not yet that it succeeded."""
    await world.settle()
    shop.bump("1.1.0", shop.ledger.migration("early"), shop.ledger.migration("late", "after"))
    await world.settle()
    forget_everything(world)
    await world.settle()
    assert world.answers() == "1.1.0"
    assert shop.states() == {"early": "done", "late": "unknown"}


async def test_what_was_removed_has_left_its_data_and_is_saved_before_they_are_migrated(
    world: World, shop: Shop
) -> None:
    for service in ("web", "queue", "mail"):
        world.bump("1.0.0", service=service)
    await world.settle()
    shop.bump("1.0.1")
    await world.settle()
    world.more = "policy: {prune: true}\n"
    world.pin(None)
    world.merge("Let api go")
    await world.settle()
    assert world.answers() == ""
    await world.deliver()
    forget_everything(world)
    await world.settle()
    accept(world.core, world.fleet.passes, None, actor="ada")

    shop.ledger.calls()
    shop.bump("1.1.0", shop.ledger.migration("first"))
    await world.settle()
    assert shop.ledger.calls()[:3] == ["save data", "verify data", "up first"]


async def test_where_data_are_held_for_a_person_they_are_for_who_comes_next(
    world: World, shop: Shop, rival: Rival
) -> None:
    async with world.holding():
        await world.settle()
        await bob_takes_it(world, rival)
        commit = shop.bump("1.1.0", shop.ledger.migration("first"))
        await world.settle()
        await tell(
            world, commit, Phase.REVERTED, migrations={"first": "undone"}, held="it could not be brought back"
        )
        await bob_gives_it_back(world, rival)
        await world.settle()
        shop.bump("1.2.0", shop.ledger.migration("first"))
        await world.settle()
        assert reason(world) == "held by ugs: data: it could not be brought back"
        assert "production/api is held: it could not be brought back" in world.calls()

        hold(world.fleet, "production", "api", actor="ada", reason="I look", lasting=None)
        [ours, _] = world.core.store.permits("production").holds
        release_hold(world.fleet, ours.id, actor="ada")
        await bob_takes_it_again(world, rival)
        await world.settle()
        assert reason(world) == "held by ada: I look"


async def test_what_runs_and_nobody_told_of_has_its_migrations_behind_it(world: World, shop: Shop) -> None:
    """The remote has lost its notes; and something else is pinned by now."""
    shop.bump("1.0.1", shop.ledger.migration("first"))
    await world.settle()
    await world.deliver()
    forget_everything(world)
    lose_notes(world)
    await the_second_alone_is_applied(world, shop)


@pytest.mark.fault("DB-06")
async def test_what_was_adopted_as_it_ran_and_has_stopped_has_its_migrations_behind_it(
    world: World, shop: Shop
) -> None:
    """No upgrade was ever told of: the first daemon came when it ran already, and its database is lost."""
    shop.bump("1.0.1", shop.ledger.migration("first"))
    await world.settle()
    forget_everything(world)
    lose_notes(world)
    await world.settle()
    assert shop.states() == {"first": "done"}
    await world.deliver()
    forget_everything(world)
    world.stop()
    await the_second_alone_is_applied(world, shop)


@pytest.mark.parametrize("done", [True, False], ids=["it was applied", "it was not"])
async def test_what_another_daemon_had_begun_is_asked_about_once_its_command_must_have_ended(
    world: World, shop: Shop, rival: Rival, *, done: bool
) -> None:
    ledger = shop.ledger
    async with world.holding():
        await world.settle()
        await bob_takes_it(world, rival)
        shop.bump("1.1.0", ledger.migration("first", timeout="5m"))
        await world.settle()
        await tell(world, world.tip(), Phase.PREPARING, migrations={"first": "begun"}, quarantined=None)
        if done:
            with closing(sqlite3.connect(ledger.folder / "orders.db")) as database:
                database.execute("CREATE TABLE first (id)")
        ledger.calls()
        await bob_gives_it_back(world, rival)
        await world.settle()
        assert shop.states() == {"first": "unknown"}
        assert "migration first was begun where nobody here sees whether it has ended" in reason(world)
        assert ledger.calls() == [], "its command may run on over there"

        world.clock.move(timedelta(minutes=5, seconds=11))
        await a_third_passes(world)
        await world.settle()
        assert (world.answers(), shop.states()) == ("1.1.0", {"first": "done"})
        ups = [call for call in ledger.calls() if call.startswith("up")]
        assert ups == ([] if done else ["up first"])


async def test_where_nobody_can_be_asked_a_person_is_called_and_what_runs_goes_on(
    world: World, shop: Shop, rival: Rival
) -> None:
    async with world.holding():
        await world.settle()
        await bob_takes_it(world, rival)
        shop.bump("1.1.0", shop.ledger.migration("first", without="check", timeout="1s"))
        await world.settle()
        await tell(world, world.tip(), Phase.PREPARING, migrations={"first": "begun"}, quarantined=None)
        await bob_gives_it_back(world, rival)
        await world.settle()
        world.clock.move(timedelta(minutes=1))
        await a_third_passes(world)
        await world.settle()
        assert world.answers() == "1.0.0"
        assert "ugs migrations settle production api first" in "".join(needs_person(world.fleet))


async def test_git_is_told_before_data_are_touched(world: World, shop: Shop) -> None:
    told: list[str] = []
    await world.settle()
    world.at["backup:begun"] = lambda: told.append(world.notes(world.tip()))
    shop.bump("1.1.0", shop.ledger.migration("first"))
    await world.settle()
    assert '"outcome": "preparing", ' in told[0]
    assert '"migrations": {"first": "begun"}' in told[0]
    await world.deliver()
    assert '"migrations": {"first": "done"}' in world.notes(world.tip())


@pytest.mark.parametrize("leased", [True, False])
async def test_where_git_cannot_be_told_nothing_is_touched_unless_no_other_daemon_can_come(
    world: World, shop: Shop, *, leased: bool
) -> None:
    world.leased = leased
    async with world.holding() if leased else world.telling():
        await world.settle()
        hook = refuse_notes(world)
        shop.bump("1.1.0", shop.ledger.migration("first"))
        await world.settle()
        if leased:
            assert "Git has to say first that the data of api may be migrated" in reason(world)
            assert shop.ledger.calls() == []
            hook.unlink()
            world.clock.move(timedelta(seconds=30))
            await a_third_passes(world)
            await world.settle()
        assert world.answers() == "1.1.0"


async def test_what_another_daemon_may_have_migrated_is_not_started_again_while_nobody_says_whose_it_is(
    world: World, shop: Shop, rival: Rival
) -> None:
    async with world.holding():
        await world.settle()
        shop.bump("1.1.0", shop.ledger.migration("first"))
        await world.settle()
        await bob_takes_it(world, rival)
        rival.gives_back(2)
        await world.stopped()
    world.remote.rename(world.folder / "away.git")
    world.stop()
    async with world.holding():
        await world.settle(refresh=False)
        assert world.answers() == ""
        (world.folder / "away.git").rename(world.remote)
        await a_third_passes(world)
        await world.settle()
        await world.eventually(lambda: world.answers() == "1.1.0")
