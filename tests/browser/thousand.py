"""A real daemon over a thousand services that are pretended to run: `python -m tests.browser.thousand FOLDER PORT`.

Real are the repository, the database, passes, gates, upgrades and the API; the driver and the probes are not.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from reconciler.api import application, by_socket, by_token_or_session, serve
from reconciler.api.web import pages
from reconciler.drivers.base import Cause, Endpoint, Site
from reconciler.engine.core import Core
from reconciler.engine.daemon import Daemon
from reconciler.model.observation import Instance, Observation, Sample
from reconciler.model.release import Probe
from reconciler.model.target import Target, Workload
from reconciler.model.verdict import Outcome
from tests.world import World, a_world

COUNT = 1_000
ZEROS = "0" * 64
RELEASE = """\
service: {service}
version: "{version}"
artifact: {{archive: {{url: "archives/none.tar.gz", sha256: "{zeros}"}}}}
run: {{command: ["bin/{service}"]}}
health: {{soak: 10ms, deadline: 3s, probes: [{{tcp: "127.0.0.1:1", interval: 10ms}}]}}
"""
ENVIRONMENT = "environment: {name}\ndriver: {{kind: process}}\npins:\n{pins}"


def named(number: int) -> str:
    return f"service-{number:04}"


def build(world: World) -> None:
    """A thousand services in production, and every fifth of them in staging."""
    names = [named(number) for number in range(COUNT)]
    for name in names:
        write_release(world, name, "1.4.0")
    for environment, chosen in (("production", names), ("staging", names[::5])):
        pins = "".join(f'  {name}: "1.4.0"\n' for name in chosen)
        world.files[f"environments/{environment}.yaml"] = ENVIRONMENT.format(name=environment, pins=pins)
    world.ada.commit(world.files, "A thousand services", environment={})
    world.ada.push()
    world.files = {}


def write_release(world: World, service: str, version: str) -> None:
    world.files[f"releases/{service}/{version}.yaml"] = RELEASE.format(
        service=service, version=version, zeros=ZEROS
    )


class Pretended:
    """What is pinned at first runs already; what is applied runs at once, and everything answers."""

    def __init__(self) -> None:
        self.core: Core | None = None
        self.running: defaultdict[str, dict[str, Target]] = defaultdict(dict)

    def observe(self, _site: Site, environment: str) -> dict[str, Observation]:
        here = self.running[environment]
        if not here and self.core and (desired := self.core.desired.get(environment)):
            here.update({name: work.target for name, work in desired.workloads.items()})
        return {
            name: Observation(name, (Instance(0, target, "running"),)) for name, target in list(here.items())
        }

    def apply(self, _site: Site, _cause: Cause, work: Workload, _upto: int) -> None:
        self.running[work.environment][work.service] = work.target

    def endpoints(self, site: Site, _work: Workload) -> tuple[Endpoint, ...]:
        return (Endpoint(0, 1, site.state, {}),)

    def nothing(self, *_: Any, **__: Any) -> None:
        """For whatever else is asked of a driver."""

    def empty(self, *_: Any, **__: Any) -> str:
        return ""

    def none(self, *_: Any, **__: Any) -> list[str]:
        return []

    prepare = preflight = settle = restore = rename = tidy = nothing
    restorable = foreign_listener = empty
    logs = none


async def answers(_client: None, spec: Probe, *, instance: int, now: Any, **_: Any) -> Outcome:
    return Outcome(instance, Sample(spec.name, "healthy", now(), latency_s=0.001))


@contextlib.asynccontextmanager
async def no_session() -> Any:
    yield None


async def run(core: Core, driver: Pretended, port: int) -> None:
    driver.core = core
    daemon = Daemon(core)
    await daemon.run(
        partial(serve, application(daemon, by_socket), core.settings.state / "ugs.sock"),
        partial(serve, application(daemon, by_token_or_session(core), [pages]), ("127.0.0.1", port)),
    )


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    driver = Pretended()
    with a_world(folder) as world:
        world.driver = cast(Any, driver)
        build(world)
        core = dataclasses.replace(
            world.core, probes=cast(Any, SimpleNamespace(session=no_session, probe=answers))
        )
        asyncio.run(run(core, driver, port))


if __name__ == "__main__":
    main()
