"""A daemon's core over a repository of any size, with everything deployed as it is pinned already.

Git, the database and the engine are real. What stands in is the driver alone, which says that what is pinned runs: a
hundred thousand services would measure the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from benchmarks.load_daemon import AllRuns
from benchmarks.scale.generate import Size, make
from reconciler.cli.graph import core_from, settings_from
from reconciler.drivers import DRIVERS
from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet

CONFIG = """\
repository: {{url: "{remote}", poll: 1h}}
state: {state}
drivers: [process]
"""


def repository(size: Size, folder: Path) -> Path:
    remote = make(size, folder)
    (folder / "ugs.yaml").write_text(CONFIG.format(remote=remote, state=folder / "state"))
    return remote


@contextlib.contextmanager
def core_over(folder: Path) -> Iterator[Core]:
    """The core of the daemon whose ugs.yaml is in the folder."""
    settings = settings_from(folder / "ugs.yaml")
    settings.state.mkdir(mode=0o700, exist_ok=True)
    with core_from(settings) as core:
        runs = AllRuns()
        driver = cast(Any, SimpleNamespace(**vars(DRIVERS["process"])))
        driver.observe = runs.observe
        runs.desired = core.desired
        yield dataclasses.replace(core, drivers={"process": driver})


@contextlib.asynccontextmanager
async def settled(core: Core) -> AsyncIterator[Fleet]:
    """The fleet with its repository in force, and every pin on record as deployed and proven, in one transaction."""
    fleet = Fleet(core, accept_first=True)
    keeping = asyncio.create_task(core.leases.keep(lambda: list(core.desired), lambda _name: None))
    await fleet.start()
    await fleet.refresh()
    with core.store.transaction():
        for desired in core.desired.values():
            for work in desired.workloads.values():
                core.store.deployed(work, revision=desired.revision)
                core.store.healthy(work)
    try:
        yield fleet
    finally:
        await fleet.remembering.end()
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping


async def at_rest(fleet: Fleet) -> None:
    """Every environment is passed over, and has nothing left to do."""
    for here in fleet.passes.values():
        await here.once()
        here.wake.clear()
