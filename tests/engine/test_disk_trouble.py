"""A database that cannot be written: nothing new starts, what was done is recorded, and it goes on by itself."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.engine import problems
from reconciler.engine.attention import needs_person
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.model.errors import HostError
from reconciler.model.evaluation import Evaluated, evaluate
from reconciler.model.upgrade import Phase
from reconciler.store.reserve import Reserve
from tests.world import World

DECLARED = "flags: {new-checkout: {default: false, live: true}}\n"
NOTES = f"notes: {'a long story ' * 1000}\n"
"""So that no move of the upgrade fits into what is left of the database's last pages."""


def fill(world: World) -> None:
    """From now on SQLite finds no room for another page."""
    run = world.core.store._connection.execute
    run(f"PRAGMA max_page_count = {run('PRAGMA page_count').fetchone()[0]}")
    filler = "x" * 3000
    while True:
        try:
            world.core.store.mark(f"filler {run('SELECT count(*) FROM marks').fetchone()[0]}", filler)
        except HostError:
            return


def empty(world: World) -> None:
    world.core.store._connection.execute("PRAGMA max_page_count = 1000000")


def refuse(world: World) -> None:
    world.core.store._connection.execute("PRAGMA query_only = ON")


def allow(world: World) -> None:
    world.core.store._connection.execute("PRAGMA query_only = OFF")


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        pytest.param(fill, empty, "full; free space", marks=pytest.mark.fault("DB-01")),
        pytest.param(refuse, allow, "readonly database", marks=pytest.mark.fault("DB-13")),
    ],
)
async def test_nothing_starts_while_the_intent_cannot_be_written(
    world: World, begin: object, end: object, said: str
) -> None:
    assert callable(begin)
    assert callable(end)
    world.deploy_first("1.0.0")
    await world.settle()
    world.core.reserve.keep()
    world.bump("1.1.0", more=NOTES)
    await world.fleet.refresh()
    here: EnvironmentPass = world.fleet.passes["production"]
    begin(world)
    for _ in range(2):
        with pytest.raises(HostError, match=said):
            await here.once()
    assert here.running == {}
    assert world.answers() == "1.0.0"
    assert said in needs_person(world.fleet)[0]
    assert world.core.reserve.path.exists(), "the space that is put by is not for what is new"

    end(world)
    await world.settle()
    assert world.answers() == "1.1.0"
    assert needs_person(world.fleet) == []
    assert world.core.store.verify_audit() is None


@pytest.mark.fault("DB-02")
async def test_what_was_done_is_recorded_in_the_space_that_was_put_by(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.core.reserve.keep()
    assert world.core.reserve.path.stat().st_blocks * 512 >= 8 << 20
    world.at["apply:done"] = lambda: fill(world)
    own = Reserve.release

    def release(reserve: Reserve) -> bool:
        world.at.clear()
        empty(world)  # what the file held is free for the database
        return own(reserve)

    monkeypatch.setattr(Reserve, "release", release)
    world.bump("1.1.0", more=NOTES)
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    assert world.answers() == "1.1.0"
    assert not world.core.reserve.path.exists()
    [upgrade, _] = world.upgrades()
    assert {step.outcome for step in world.core.store.steps(upgrade.operation)} == {"ok"}


@pytest.mark.fault("DB-02")
async def test_without_any_space_what_was_done_is_recorded_later(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.at["apply:done"] = lambda: fill(world)
    world.bump("1.1.0", more=NOTES)
    await world.reach(Phase.APPLYING)
    await world.eventually(lambda: "database or disk is full" in caplog.text)
    assert any("the database cannot be written" in one for one in needs_person(world.fleet))
    world.at.clear()
    empty(world)
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    assert world.answers() == "1.1.0"


@pytest.mark.fault("DB-01")
async def test_a_commit_that_cannot_be_written_down_is_not_half_in_force(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    store, mirror, before = world.core.store, world.core.repository.mirror, world.fleet.tip
    own = store.audit

    def full(event: str, **told: Any) -> None:
        if event == "accepted":
            raise HostError("the disk is full", "free some of it")
        own(event, **told)

    monkeypatch.setattr(store, "audit", full)
    world.bump("1.1.0")
    with pytest.raises(HostError, match="the disk is full"):
        await world.fleet.refresh()
    assert (mirror.accepted(), world.core.desired["production"].revision, store.advances()) == (
        before,
        before,
        [],
    )
    monkeypatch.undo()
    await world.settle()
    assert world.answers() == "1.1.0"
    assert [row.detail for row in store.audit_rows(limit=1000) if row.event == "accepted"] == [
        mirror.accepted(),
        before,
    ]


@pytest.mark.fault("DB-01")
async def test_what_is_in_force_is_followed_though_something_about_it_cannot_be_written_down(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.release("1.0.0", more=DECLARED)
    world.pin("1.0.0")
    world.merge("Start")
    await world.settle()
    here = world.fleet.passes["production"]
    here.wake.clear()

    def full(*_: object) -> None:
        raise HostError("the disk is full", "free some of it")

    monkeypatch.setattr(problems, "tell", full)
    world.more = "flags: {new-checkout: true}\n"
    world.merge("Switch it on")
    with pytest.raises(HostError, match="the disk is full"):
        await world.fleet.refresh()
    assert here.wake.is_set()
    monkeypatch.undo()
    await world.fleet.refresh()
    found = evaluate(world.core.flags["production"]["new-checkout"].standing, {})
    assert isinstance(found, Evaluated)
    assert found.value is True
