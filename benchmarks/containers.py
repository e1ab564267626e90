"""Observing 1,000 services under Docker: a real engine, one container each, made and not started; wall-clock time."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from msgspec.structs import replace

from benchmarks.result import Result
from reconciler.drivers import docker
from reconciler.drivers.base import Cause, Site
from reconciler.drivers.docker import client
from reconciler.drivers.docker.body import body_of
from reconciler.drivers.docker.seen import Listed, container_name, containers, observations, strangers
from reconciler.drivers.mark import site_id
from reconciler.model.release import Artifact
from tests.build import release, work
from tests.engines.dockerd import Dockerd

SERVICES = 1_000
MADE_AT_ONCE = 8
ROUNDS = 9
IMAGE = f"registry.example/bench@sha256:{'a' * 64}"


def possible() -> bool:
    """Whether an engine can be started here."""
    return os.geteuid() == 0 and shutil.which("dockerd") is not None


def run() -> Result:
    """Milliseconds for the environment as a whole, and for what of that is ours: reading a list in which all run."""
    folder = Path(tempfile.mkdtemp(prefix="ugs-bench-"))
    engine = Dockerd(folder / "engine")
    engine.start()
    try:
        tag = "bench:1"
        engine.image(tag, "1.0.0")
        site = _site(folder, engine)
        _make(engine, site, tag)
        with client.engine(engine.host, "list them") as session:
            listed = session.listed()
        if len(listed) != SERVICES:
            raise SystemExit(f"{len(listed)} of {SERVICES} containers were made")
        running = msgspec.json.encode([replace(one, state="running", image=IMAGE) for one in listed])

        def read() -> None:
            entries = msgspec.json.decode(running, type=list[Listed])
            found = containers(entries, site_id(site.state), {"production"})
            seen = observations(found, strangers(entries, site_id(site.state), {"production"}))
            if len(seen) != SERVICES:
                raise SystemExit(f"{len(seen)} of {SERVICES} services were seen")

        return Result(
            f"observing {SERVICES} services under Docker, one call",
            "ms",
            {
                "observe (bound: 1000)": _timed(lambda: docker.observe(site, "production")),
                "of which reading the list": _timed(read),
            },
        )
    finally:
        engine.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _site(folder: Path, engine: Dockerd) -> Site:
    (folder / "state").mkdir()
    return Site(
        state=folder / "state",
        secret=lambda *_: "",
        blob=lambda *_: b"",
        engine={"socket": str(engine.socket)},
    )


def _make(engine: Dockerd, site: Site, tag: str) -> None:
    def make(number: int) -> None:
        name = f"service-{number}"
        one = work(service=name, of=release(service=name, artifact=Artifact(image=IMAGE)))
        body = body_of(site, Cause("bench"), one, 0, [], {}) | {"Image": tag}
        with contextlib.closing(engine.api) as api:
            api.create_container_from_config(body, container_name("production", name, 0, one.target))

    with ThreadPoolExecutor(MADE_AT_ONCE) as pool:
        list(pool.map(make, range(SERVICES)))


def _timed(action: Callable[[], object]) -> list[float]:
    taken = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        action()
        taken.append((time.perf_counter() - began_s) * 1_000)
    return taken
