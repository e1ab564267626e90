"""The database is gone, damaged or older than it was: what runs goes on, and nothing is started on a guess."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from reconciler.engine import people
from reconciler.engine.attention import needs_person
from reconciler.engine.recovery import accept
from reconciler.engine.status import recover_of, status_of
from reconciler.model.errors import UgsError
from reconciler.model.upgrade import Phase
from tests.world import World

pytestmark = pytest.mark.slow

Harm = Callable[[World], None]


def gone(world: World) -> None:
    for file in world.state.glob("ugs.db*"):
        file.unlink()


def damaged(world: World) -> None:
    gone(world)
    (world.state / "ugs.db").write_bytes(b"once upon a time there was a database" * 1000)


def keep(world: World) -> None:
    """Keep a copy of the database as it is now, at rest."""
    world.forget()
    shutil.copy(world.state / "ugs.db", world.folder / "older.db")


def older(world: World) -> None:
    gone(world)
    shutil.copy(world.folder / "older.db", world.state / "ugs.db")


async def two_versions(world: World) -> None:
    """1.0.0 ran; then 1.1.0 proved healthy, and Git was told."""
    world.deploy_first("1.0.0")
    await world.settle()
    await world.deliver()
    keep(world)
    world.bump("1.1.0")
    await world.settle()
    await world.deliver()
    world.forget()


def why(world: World) -> str:
    [one] = recover_of(world.fleet)["environments"]
    assert one["environment"] == "production"
    return str(one["reason"])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(gone, "ugs.db was gone", marks=pytest.mark.fault("DB-06")),
        pytest.param(damaged, "it is kept as", marks=pytest.mark.fault("DB-06")),
        pytest.param(older, "ugs.db is older than it was", marks=pytest.mark.fault("DB-07")),
        pytest.param(World.wipe, "the remote remembers row", marks=pytest.mark.fault("DB-07")),
    ],
)
async def test_what_runs_goes_on_and_only_a_later_commit_starts_anything(
    world: World, harm: Harm, said: str
) -> None:
    await two_versions(world)
    pid = world.pid()
    harm(world)

    await world.settle()
    assert world.pid() == pid
    assert said in why(world)
    assert [sentence for sentence in world.calls() if "safe mode" in sentence] == [
        f"safe mode: {why(world)}. Nothing is started; see `ugs recover`"
    ]
    assert f"production: safe mode: {why(world)}; see `ugs recover`" in needs_person(world.fleet)
    assert status_of(world.fleet, {})["environments"][0]["safe_mode"] == why(world)
    assert [str(work.target.version) for work, _ in world.core.store.good("production", "api", limit=1)] == [
        "1.1.0"
    ]

    world.bump("1.2.0", "unhealthy")
    await world.settle()
    assert world.phases()[-1] == "reverted"
    assert world.answers() == "1.1.0"
    assert why(world)

    accept(world.core, world.fleet.passes, None, actor="ada")
    assert recover_of(world.fleet) == {"environments": []}
    world.bump("1.3.0")
    await world.settle()
    assert world.answers() == "1.3.0"
    await world.deliver()
    await world.restart()
    await world.settle()
    assert recover_of(world.fleet) == {"environments": []}, "accepted once is accepted"


@pytest.mark.fault("DB-07")
async def test_a_pin_that_was_moved_before_waits_for_a_person(world: World) -> None:
    await two_versions(world)
    world.bump("1.2.0")
    gone(world)
    await world.settle()
    assert world.answers() == "1.1.0"
    [shut] = [gate for gate in world.view().gates if not gate.open]
    assert shut.gate == "recovery"
    assert shut.opened_by.startswith("ugs recover --accept production")
    [one] = recover_of(world.fleet)["environments"][0]["services"]
    assert one["on_accept"] == "1.2.0 is deployed"
    assert (one["running"], one["last_good"]) == (one["last_good"], one["running"])

    with pytest.raises(UgsError, match="staging is not in safe mode"):
        accept(world.core, world.fleet.passes, "staging", actor="ada")
    assert accept(world.core, world.fleet.passes, "production", actor="ada") == ["production"]
    await world.settle()
    assert world.answers() == "1.2.0"
    assert "safe-mode-accepted" in world.events()


@pytest.mark.fault("DB-07")
async def test_nobody_rolls_back_to_what_an_older_database_remembers(world: World) -> None:
    await two_versions(world)
    world.bump("1.2.0")
    await world.settle()
    await world.deliver()
    world.forget()
    older(world)  # which knows of 1.0.0 alone, and not of what replaced it
    await world.settle()
    with pytest.raises(people.Conflict, match="in safe mode") as refused:
        await people.rollback(world.fleet, "production", "api", actor="ada", reason="it loses orders")
    assert "ugs recover --accept production" in refused.value.remedy
    assert world.answers() == "1.2.0"

    world.bump("1.3.0", soak="1m", deadline="2m")
    under_way = await world.reach(Phase.VERIFYING)
    operation = await people.rollback(world.fleet, "production", "api", actor="ada", reason="it loses orders")
    assert operation == under_way.operation, "of what a later commit brings, all is known"
    await world.settle()
    assert (world.phases()[-1], world.answers()) == ("reverted", "1.2.0")


@pytest.mark.fault("DB-06", "DB-07")
async def test_what_failed_is_known_from_git_and_not_tried_again(world: World) -> None:
    await two_versions(world)
    world.bump("1.2.0", "unhealthy")
    await world.settle()
    operation = world.upgrades()[0].operation
    assert world.phases()[-1] == "reverted"
    world.forget()  # the note was never pushed: the revert's trailers alone tell of it
    world.wipe()
    await world.settle()
    accept(world.core, world.fleet.passes, "production", actor="ada")

    world.pin("1.2.0")
    world.merge("Try that again")
    await world.settle()
    assert world.phases() == ["waiting"]
    assert [gate.gate for gate in world.view().gates if not gate.open] == ["quarantine"]
    assert world.answers() == "1.1.0"

    world.release("1.2.0")
    world.merge(f"Now it is mended\n\nUgs-Retry: {operation}")
    await world.settle()
    assert world.core.store.quarantined("production") == []
