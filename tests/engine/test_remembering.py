"""What was read is kept for the next start without anybody waiting: the first at once, the last of many later."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from msgspec.structs import replace

from reconciler.engine import remembering
from reconciler.engine.remembering import Remembering
from reconciler.model.snapshot import NOTHING, Snapshot
from tests.world import World


def of(revision: str) -> Snapshot:
    return replace(NOTHING, revision=revision)


class Kept:
    """Stands in for a repository that keeps."""

    def __init__(self, *, remembers: bool = True) -> None:
        self.remembers = remembers
        self.revisions: list[str] = []

    def remember(self, snapshot: Snapshot) -> None:
        self.revisions.append(snapshot.revision)


async def until(kept: Kept, revisions: list[str]) -> None:
    async with asyncio.timeout(90):
        while kept.revisions != revisions:  # noqa: ASYNC110 - a thread does it
            await asyncio.sleep(0.01)


async def test_the_first_is_kept_at_once_and_of_many_later_ones_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remembering, "LATER_S", 0.05)
    kept = Kept()
    one = Remembering(cast(Any, kept))
    one.keep(of("a"))
    await until(kept, ["a"])
    for revision in "bcd":
        one.keep(of(revision))
    await until(kept, ["a", "d"])
    one.keep(of("e"))
    await until(kept, ["a", "d", "e"])


async def test_what_is_yet_to_be_kept_is_kept_when_it_ends() -> None:
    kept = Kept()
    one = Remembering(cast(Any, kept))
    one.keep(of("a"))
    await until(kept, ["a"])
    one.keep(of("b"))
    await one.end()
    await one.end()
    assert kept.revisions == ["a", "b"]


async def test_where_nothing_is_kept_nothing_is_waited_for() -> None:
    kept = Kept(remembers=False)
    one = Remembering(cast(Any, kept))
    one.keep(of("a"))
    await one.end()
    assert kept.revisions == []


async def test_a_commit_that_came_after_the_first_is_known_to_the_next_daemon(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.fleet.refresh()
    world.bump("1.1.0")
    await world.fleet.refresh()
    await world.fleet.remembering.end()
    await world.restart()
    tip = world.core.repository.mirror.accepted()
    assert tip is not None
    world.core.repository.snapshot(tip)
    assert world.core.repository._cache.parsed == 0
