"""At rest, and deciding: passes over what is as it should be, and the commit that moves one pin."""

from __future__ import annotations

import asyncio
import resource
import time
from pathlib import Path

from benchmarks.scale import restart, world
from benchmarks.scale.generate import Size, environment
from benchmarks.scale.read import commit
from benchmarks.scale.row import KIB_PER_MB, Row
from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet
from reconciler.engine.patrol import Patrol
from reconciler.engine.repository import Fetched

ROUNDS = 5


def rows(size: Size, folder: Path) -> list[Row]:
    remote = world.repository(size, folder)
    with world.core_over(folder) as core:
        found = asyncio.run(_measured(core, size, remote))
    return [*found, *restart.rows(size, folder)]


async def _measured(core: Core, size: Size, remote: Path) -> list[Row]:
    there = f"{size.pins:,} pins in {size.environments:,} environments"
    async with world.settled(core) as fleet:
        await world.at_rest(fleet)
        rest = sorted([await _passes(fleet) for _ in range(ROUNDS)])[ROUNDS // 2]
        floor = sorted([await _looks(fleet) for _ in range(ROUNDS)])[ROUNDS // 2]
        what, pins = "an unchanged pass", size.pins
        found = [
            Row(f"{what} over {there}", "ms of CPU", rest, bound=50.0, floor=floor, curve=what, pins=pins)
        ]
        decided = []
        for number in range(ROUNDS + 1):
            index = number % size.environments
            commit(remote, index, environment(size, index, moved=True))
            decided.append(await _decided(fleet, f"e{index:04}"))
        # The first learns what froze as everything was put on record a moment ago.
        wall, cpu = (sorted(figures)[ROUNDS // 2] for figures in zip(*decided[1:], strict=True))
        moved = f"one of {pins:,} pins moved"
        what = "one pin moved: fetched → decided"
        least = sorted([await _least(core) for _ in range(ROUNDS)])[ROUNDS // 2]
        found.append(
            Row(
                f"{moved}: fetched → decided",
                "ms of CPU",
                cpu,
                bound=10.0,
                floor=least,
                curve=what,
                pins=pins,
            )
        )
        found.append(Row(f"{moved}: pushed → decided", "ms", wall))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MB
        found.append(
            Row(
                f"memory at the most, {pins:,} pins",
                "MB",
                peak,
                bound=400.0,
                curve="memory at the most",
                pins=pins,
            )
        )
    return found


async def _passes(fleet: Fleet) -> float:
    began = time.process_time()
    looked_at = await Patrol(fleet).round()
    spent_ms = (time.process_time() - began) * 1000
    assert looked_at == len(fleet.passes), f"{looked_at} of {len(fleet.passes)} are at rest"
    assert not any(here.wake.is_set() for here in fleet.passes.values())
    return spent_ms


async def _looks(fleet: Fleet) -> float:
    """The floor: a thread asks what runs, of one environment after the other, and nothing is made of the answer."""

    def ask() -> None:
        for here in fleet.passes.values():
            here._observe()

    began = time.process_time()
    await asyncio.to_thread(ask)
    return (time.process_time() - began) * 1000


async def _least(core: Core) -> float:
    """The floor: what Git is asked for, and what has to be durable, of a commit and of a decision; nothing is made of
    it."""
    mirror, store = core.repository.mirror, core.store
    tip = mirror.accepted()
    assert tip is not None
    began = time.process_time()
    await asyncio.to_thread(mirror.described, tip)
    store.mark("benchmark", tip)
    await core.git(core.repository.accept, tip)
    store.audit("benchmark", detail=tip)
    store.audit("benchmark", detail=tip)
    store.mark("benchmark", None)
    return (time.process_time() - began) * 1000


async def _decided(fleet: Fleet, name: str) -> tuple[float, float]:
    """Milliseconds that pass from before the fetch, and of this process's CPU from after it, until all is decided."""
    repository = fleet.core.repository
    fetch, fetched = repository.fetch, 0.0

    def timed(**how: bool) -> Fetched:
        nonlocal fetched
        found = fetch(**how)
        fetched = time.process_time()
        return found

    repository.fetch = timed  # type: ignore[method-assign]  # to see when it has ended
    began = time.perf_counter()
    try:
        await fleet.refresh()
        await fleet.passes[name].once()
    finally:
        repository.fetch = fetch  # type: ignore[method-assign]
    return (time.perf_counter() - began) * 1000, (time.process_time() - fetched) * 1000
