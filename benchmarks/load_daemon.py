"""The daemon of `make load`: the real one, over a driver that says that everything runs as it is pinned."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import secrets
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from reconciler.api import application, by_token, serve
from reconciler.cli.graph import core_from, settings_from
from reconciler.cli.state import state_lock
from reconciler.drivers import DRIVERS
from reconciler.drivers.base import Site
from reconciler.engine.core import Core
from reconciler.engine.daemon import Daemon
from reconciler.model.desired import Desired
from reconciler.model.observation import Instance, Observation
from reconciler.model.rights import RoleGrant


class AllRuns:
    """What is pinned runs, each with one instance; worked out once for what is in force."""

    def __init__(self) -> None:
        self.desired: Mapping[str, Desired] = {}
        self._known: dict[str, tuple[Desired, dict[str, Observation]]] = {}

    def observe(self, _site: Site, environment: str) -> dict[str, Observation]:
        desired = self.desired.get(environment)
        if desired is None:
            return {}
        known = self._known.get(environment)
        if known is None or known[0] is not desired:
            known = (
                desired,
                {
                    name: Observation(name, (Instance(0, work.target, "running"),))
                    for name, work in desired.workloads.items()
                },
            )
            self._known[environment] = known
        return known[1]


def over(core: Core) -> Core:
    runs = AllRuns()
    driver = cast(Any, SimpleNamespace(**vars(DRIVERS["process"])))
    driver.observe = runs.observe
    runs.desired = core.desired
    return dataclasses.replace(core, drivers={"process": driver})


async def run(core: Core, listen: tuple[str, int], tokens: int) -> None:
    daemon = Daemon(core, accept_first=True)
    made = ["ugs_" + secrets.token_urlsafe(32) for _ in range(tokens)]
    for number, token in enumerate(made):
        core.store.keep_token(f"load-{number}", token, (RoleGrant("admin"),), by="load", expires_at=None)

    async def ready() -> None:
        """Tell the tokens once every service is adopted as it runs; and stay, as companions do."""
        adopted = 0
        while not daemon.fleet.passes or adopted < sum(len(one.workloads) for one in core.desired.values()):
            await core.clock.sleep(0.5)
            adopted = sum(len(here.monitor.states()) for here in daemon.fleet.passes.values())
        print(json.dumps(made), flush=True)
        await asyncio.Event().wait()

    await daemon.run(partial(serve, application(daemon, by_token(core)), listen), ready)


def main() -> None:
    logging.basicConfig(level="WARNING", stream=sys.stderr)
    settings = settings_from(Path(sys.argv[1]))
    if settings.listen is None:
        raise SystemExit("it has to listen")
    with state_lock(settings.state), core_from(settings) as core:
        asyncio.run(run(over(core), settings.listen, int(sys.argv[2])))


if __name__ == "__main__":
    main()
