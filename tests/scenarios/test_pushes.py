"""A push is what a gate is judged by: nobody loosens one and walks through it, however many commits that takes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from reconciler.engine import permits
from tests.git.colleague import git
from tests.world import World


async def start(world: World) -> None:
    """1.0.0 runs, and minor changes wait for a person."""
    world.more = "windows: {minor: manual}\n"
    world.deploy_first("1.0.0")
    await world.settle()


def push(world: World, *commits: Callable[[World], None]) -> None:
    """So many commits that reach the remote at once."""
    world.ada.pull_if_any()
    for write in commits:
        write(world)
        world.commit()
    world.ada.push()


def opens(world: World) -> None:
    world.more = "windows: {minor: always}\n"


def pins(world: World) -> None:
    world.release("1.1.0")
    world.pin("1.1.0")


@pytest.mark.parametrize("commits", [(opens, pins), (pins, opens)])
async def test_nobody_opens_a_gate_and_walks_through_it_in_one_push(
    world: World, commits: tuple[Callable[[World], None], ...]
) -> None:
    await start(world)

    push(world, *commits)
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]
    assert "as it stood before the push that moved the pin" in world.view().sentence

    world.forget()  # the daemon is started again
    await world.fleet.start()
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]

    world.files["README.md"] = "An unrelated commit.\n"
    world.merge("Say something")
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]


async def test_a_merge_that_loosens_and_pins_in_its_branch_is_one_push(world: World) -> None:
    await start(world)

    world.ada.pull_if_any()
    git(world.ada.folder, "checkout", "--quiet", "-b", "topic")
    for write in (opens, pins):
        write(world)
        world.commit()
    git(world.ada.folder, "checkout", "--quiet", "main")
    git(world.ada.folder, "merge", "--quiet", "--no-ff", "--message", "Merge topic", "topic")
    world.ada.push()
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]


async def test_a_gate_that_was_opened_in_the_push_before_is_open(world: World) -> None:
    await start(world)

    push(world, opens)
    await world.settle()
    push(world, pins)
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]


async def test_a_push_that_a_crash_kept_from_coming_into_force_counts_with_the_next(world: World) -> None:
    await start(world)

    push(world, pins)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.core.repository, "accept", crash)  # after the record, before the ref
        with pytest.raises(RuntimeError, match="killed"):
            await world.fleet.refresh()
    push(world, opens)
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]


async def test_where_pushes_are_not_remembered_each_commit_is_judged_by_itself(world: World) -> None:
    await start(world)
    permits.hold(world.fleet, "production", None, actor="ada", reason="look first", lasting="1h")
    push(world, opens, pins)
    await world.settle()

    world.core.store.advance(None, world.tip())  # as after the loss of the database
    world.forget()
    await world.fleet.start()
    world.clock.move(timedelta(hours=1))
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]


async def test_a_rewrite_that_a_person_has_accepted_starts_over(world: World) -> None:
    await start(world)
    base = world.tip()
    push(world, opens)
    await world.settle()
    assert [one.before for one in world.core.store.advances()] == [base]

    git(world.ada.folder, "reset", "--quiet", "--hard", base)
    world.files["README.md"] = "Another past.\n"
    world.commit()
    git(world.ada.folder, "push", "--quiet", "--force", "origin", "main")
    await world.fleet.refresh(accept_rewrite=True)
    assert world.core.store.advances() == []


def crash(_tip: str) -> None:
    raise RuntimeError("killed")


async def test_a_way_back_is_a_rollback_for_as_long_as_it_was_before_the_push(world: World) -> None:
    world.more = "policy: {rollback_within: 1h}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    await world.settle()
    world.clock.move(timedelta(hours=2))

    world.more = "policy: {rollback_within: 7d}\n"
    world.pin("1.0.0")
    world.merge("Back, and allow it")
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded", "waiting"]
    assert world.upgrades()[0].change_class == "minor"
    assert "1.0.0 is older than the running 1.1.0" in world.view().sentence
    assert world.answers() == "1.1.0"

    world.pin("1.1.0")
    world.merge("Stay")
    await world.settle()
    world.pin("1.0.0")
    world.merge("Back, as it is allowed by now")
    await world.settle()
    assert world.upgrades()[0].change_class == "rollback"
    assert world.answers() == "1.0.0"
