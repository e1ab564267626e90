"""A daemon that starts again: what was read of Git is remembered, and nothing that is the same is parsed."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import statistics
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

from benchmarks.scale import world
from benchmarks.scale.generate import Size
from benchmarks.scale.row import Row, wall_ms
from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet
from reconciler.git.mirror import ACCEPTED_REF
from reconciler.model.codec import unpacker
from reconciler.model.layout import FOLDERS
from reconciler.parsed import Row as Remembered

BOUND_MS = 1_500.0
RESTARTS = 3
OLDER_MAX = 20
"""So many files may be read of what was before: who decides about a pin that moved looks back at what it was."""


def rows(size: Size, folder: Path) -> list[Row]:
    """Medians of several restarts, each in a process of its own, after the one that had the folder's state last has
    ended."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning, max_tasks_per_child=1) as process:
        restarts = process.map(_restarted, [folder] * RESTARTS)
        figure, floor = (statistics.median(figures) for figures in zip(*restarts, strict=True))
    what = f"restart, warm → first decision, {size.pins:,} pins"
    return [Row(what, "ms", figure, bound=BOUND_MS, floor=floor)]


def _restarted(folder: Path) -> tuple[float, float]:
    """Milliseconds from the settings to the first decision, and those of the floor."""
    began_s = time.perf_counter()
    with world.core_over(folder) as core:
        asyncio.run(_decides(core))
        figure = (time.perf_counter() - began_s) * 1000
        parsed = core.repository._cache.parsed
    if parsed > OLDER_MAX:
        raise SystemExit(f"{parsed} files were read, and should have been remembered")
    return figure, wall_ms(lambda: bare(folder / "state"), rounds=1)


async def _decides(core: Core) -> None:
    fleet = Fleet(core, accept_first=True)
    await fleet.start()
    here = next(iter(fleet.passes.values()))
    await here.once()
    if not here.seen:
        raise SystemExit(f"nothing was decided: {here.trouble}")


def bare(state: Path) -> None:
    """The mirror is looked through, its tree listed, and what is remembered is unpacked: nothing is made of it."""
    git = ("git", "-C", str(state / "mirror.git"))
    subprocess.run((*git, "fsck", "--no-dangling", "--no-progress"), check=True, capture_output=True)
    listing = (*git, "ls-tree", "-r", "-z", "--long", ACCEPTED_REF, "--", *FOLDERS)
    subprocess.run(listing, check=True, capture_output=True)
    unpack = unpacker(Remembered)
    with closing(sqlite3.connect(state / "parsed.db")) as database:
        for (body,) in database.execute("SELECT body FROM sections"):
            unpack(body)
