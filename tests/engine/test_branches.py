"""What an open branch would change, before anybody merges it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.engine import branches
from reconciler.engine.branches import Branches
from reconciler.engine.people import Conflict
from reconciler.model.errors import UgsError
from tests.git.colleague import git
from tests.world import World, a_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        made.deploy_first("1.0.0")
        yield made


def branch(world: World, name: str, version: str) -> str:
    """A branch on what was fetched last that bumps api; its tip."""
    folder = world.ada.folder
    git(folder, "checkout", "--quiet", "-b", name)
    world.release(version)
    world.pin(version)
    sha = world.commit(f"Bump to {version}")
    git(folder, "push", "--quiet", "origin", name)
    git(folder, "checkout", "--quiet", "main")
    return sha


async def test_a_branch_is_compared_with_what_really_runs(world: World) -> None:
    await world.settle()
    sha = branch(world, "bump", "1.1.0")
    found = await Branches(world.fleet).proposed("bump")
    assert (found.tip, found.base, found.behind) == (sha, world.tip(), False)
    assert [str(one.change.to.version) for one in found.preview.changes if one.change.to] == ["1.1.0"]
    assert [commit.subject for commit in found.commits] == ["Bump to 1.1.0"]
    assert world.fleet.tip == world.tip()  # nothing of it is in force


async def test_a_branch_that_fell_behind_is_not_blamed_for_what_came_since(world: World) -> None:
    await world.settle()
    base = world.tip()
    branch(world, "bump", "1.1.0")
    world.pin("1.0.0")
    world.bump("1.0.1")
    await world.settle()
    found = await Branches(world.fleet).proposed("bump")
    assert (found.base, found.behind) == (base, True)
    [planned] = found.preview.changes
    assert planned.change.running is not None
    assert str(planned.change.running.version) == "1.0.0"


async def test_the_remote_is_asked_seldom(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.settle()
    made = Branches(world.fleet)
    assert await made.names() == ()
    branch(world, "bump", "1.1.0")
    assert await made.names() == ()
    monkeypatch.setattr(branches, "FRESH_S", 0.0)
    assert await made.names() == ("bump",)
    monkeypatch.setattr(branches, "FRESH_S", 3600.0)
    assert await made.proposed("bump") is await made.proposed("bump")
    monkeypatch.setattr(branches, "FRESH_S", 0.0)
    monkeypatch.setattr(branches, "KEPT_MAX", 1)
    assert (await made.proposed("bump")).branch == "bump"


async def test_what_cannot_be_compared_says_so(world: World) -> None:
    made = Branches(world.fleet)
    branch(world, "bump", "1.1.0")
    with pytest.raises(Conflict, match="nothing is in force yet"):
        await made.proposed("bump")
    await world.settle()
    with pytest.raises(Conflict, match="there is no branch nothing; push it"):
        await made.proposed("nothing")
    folder = world.ada.folder
    git(folder, "checkout", "--quiet", "--orphan", "alone")
    git(folder, "commit", "--quiet", "-m", "Alone")
    git(folder, "push", "--quiet", "origin", "alone")
    with pytest.raises(Conflict, match="alone has no commit in common"):
        await Branches(world.fleet).proposed("alone")


async def test_a_remote_that_is_away_is_told(world: World) -> None:
    await world.settle()
    world.remote.rename(world.folder / "away.git")
    with pytest.raises(UgsError):
        await Branches(world.fleet).names()
