"""Fairness: what another environment waits for while thousands of pins move in one, and while a driver or the remote
hangs."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from benchmarks.scale import world
from benchmarks.scale.generate import AT_S, ENVIRONMENT, Size, version_of
from benchmarks.scale.row import Row
from reconciler.drivers.base import Site
from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.model.observation import Observation

FEW = 10
ROUNDS = 9
MANY_NAME, FEW_NAME = "e0000", "e0001"


class Runs:
    """The driver's answer: what ran in the beginning runs on. With `hangs`, of that environment none comes."""

    def __init__(self, seen: Mapping[str, dict[str, Observation]]) -> None:
        self._seen = seen
        self.hangs = ""
        self.asked, self.free = threading.Event(), threading.Event()

    def observe(self, _site: Site, environment: str) -> dict[str, Observation]:
        if environment == self.hangs:
            self.asked.set()
            self.free.wait()
        return self._seen[environment]


def rows(many: int, folder: Path) -> list[Row]:
    """Two environments: in one of them everything moves at once, in the other one pin does."""
    remote = world.repository(Size(2, FEW, many, versions=2), folder)
    _commit(remote, _text(MANY_NAME, many, moved=0), _text(FEW_NAME, FEW, moved=0))
    with world.core_over(folder) as core:
        return asyncio.run(_measured(core, many, remote))


async def _measured(core: Core, pins: int, remote: Path) -> list[Row]:
    async with world.settled(core) as fleet:
        many, few = fleet.passes[MANY_NAME], fleet.passes[FEW_NAME]
        for here in (many, few):
            await here.once()
        runs = Runs({here.name: dict(here.seen) for here in (many, few)})
        cast(Any, core.drivers["process"]).observe = runs.observe
        await _moved(fleet, remote, pins, many=0, few=1)
        alone = statistics.median([await _timed(few) for _ in range(ROUNDS)])
        return [
            *await _while_many_move(fleet, remote, pins, alone),
            await _while_one_hangs(fleet, remote, pins, runs, alone),
            await _while_the_remote_hangs(fleet, remote, pins, alone),
        ]


async def _while_many_move(fleet: Fleet, remote: Path, pins: int, alone: float) -> list[Row]:
    many, few = fleet.passes[MANY_NAME], fleet.passes[FEW_NAME]
    await _moved(fleet, remote, pins, many=pins, few=2)
    busy = asyncio.create_task(many.once())
    held = asyncio.create_task(_held(busy))
    beside = []
    while not busy.done():
        await asyncio.sleep(0.01)
        beside.append(await _timed(few))
    await busy
    if len(many.told) != pins:
        raise SystemExit(f"{len(many.told)} of {pins} changes were decided: this measures something else")
    what = f"while {pins:,} pins move in one environment"
    beside.sort()
    return [
        Row(
            f"another's decision {what}, the median",
            "ms",
            statistics.median(beside),
            bound=alone + 100,
            floor=alone,
        ),
        Row(
            f"the same, the 99th of a hundred ({len(beside)} decisions)",
            "ms",
            beside[len(beside) * 99 // 100],
        ),
        Row(f"the longest that the loop was held {what}", "ms of CPU", await held, bound=100.0),
    ]


async def _while_one_hangs(fleet: Fleet, remote: Path, pins: int, runs: Runs, alone: float) -> Row:
    runs.hangs = MANY_NAME
    hanging = asyncio.create_task(fleet.passes[MANY_NAME].once())
    await asyncio.to_thread(runs.asked.wait)
    await _moved(fleet, remote, pins, many=pins, few=3)
    figures = [await _timed(fleet.passes[FEW_NAME]) for _ in range(ROUNDS)]
    runs.free.set()
    await hanging
    what = "another's decision while the driver hangs in one environment"
    return Row(what, "ms", statistics.median(figures), bound=alone + 100, floor=alone)


async def _while_the_remote_hangs(fleet: Fleet, remote: Path, pins: int, alone: float) -> Row:
    """The fetch has its thread, and what nobody else may do meanwhile, until it ends."""
    await _moved(fleet, remote, pins, many=pins, few=4)
    mirror, asked, free = fleet.core.repository.mirror, threading.Event(), threading.Event()
    fetch = mirror.fetch

    def hanging() -> str:
        asked.set()
        free.wait()
        return fetch()

    mirror.fetch = hanging  # type: ignore[method-assign]  # a remote that does not answer
    fetching = asyncio.create_task(fleet.refresh())
    try:
        await asyncio.to_thread(asked.wait)
        figures = [await _timed(fleet.passes[FEW_NAME]) for _ in range(ROUNDS)]
        if fetching.done():
            raise SystemExit("the remote did not hang: this measures something else")
    finally:
        free.set()
        await fetching
        mirror.fetch = fetch  # type: ignore[method-assign]
    what = "another's decision while the remote hangs"
    return Row(what, "ms", statistics.median(figures), bound=alone + 100, floor=alone)


async def _timed(here: EnvironmentPass) -> float:
    began_s = time.perf_counter()
    await here.once()
    return (time.perf_counter() - began_s) * 1000


async def _held(while_it: asyncio.Task[None]) -> float:
    """For how long the loop was busy at most before it turned, in milliseconds of its thread's CPU."""
    longest = 0.0
    while not while_it.done():
        began = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - began)
    return longest * 1000


async def _moved(fleet: Fleet, remote: Path, pins: int, *, many: int, few: int) -> None:
    """A commit after which so many pins of each environment are one version back, taken into force."""
    _commit(remote, _text(MANY_NAME, pins, moved=many), _text(FEW_NAME, FEW, moved=few))
    await fleet.refresh()


def _text(name: str, pins: int, *, moved: int) -> str:
    lines = [f'  s{number:05}: "{version_of(0 if number < moved else 1)}"\n' for number in range(pins)]
    return ENVIRONMENT.format(name=name) + "".join(lines)


def _commit(remote: Path, *texts: str) -> None:
    stamp = f"committer Ada <ada@example.org> {AT_S + 100_000} +0000"
    body = f"commit refs/heads/main\n{stamp}\ndata 4\nMove\nfrom refs/heads/main^0\n".encode()
    for index, text in enumerate(texts):
        data = text.encode()
        body += b"M 100644 inline environments/e%04d.yaml\ndata %d\n%s\n" % (index, len(data), data)
    importing = ("git", "-C", str(remote), "fast-import", "--quiet", "--force")
    subprocess.run(importing, input=body, check=True)
