"""How soon: a commit is noticed, a restore begins, a plan is there; and what the daemon holds while nothing happens."""

from __future__ import annotations

import asyncio
import compileall
import contextlib
import statistics
import subprocess
import time
from pathlib import Path

import reconciler
from benchmarks import decide, recovery
from benchmarks.deploy import store_of
from benchmarks.load import rss_kib
from benchmarks.scale import world
from benchmarks.scale.generate import sized
from benchmarks.scale.row import KIB_PER_MB, Row
from reconciler.engine.daemon import Daemon
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.model.errors import UgsError
from tests.daemon_process import DaemonProcess, configured
from tests.git.colleague import git
from tests.world import World, a_world

DETECTIONS = 15
BEYOND_FETCH_MS = 20.0
RESTORES = 5
SERVICES = 10
WAIT_S = 60.0
REF = "refs/heads/main"


def rows(folder: Path) -> list[Row]:
    restored = recovery.run(RESTORES).rounds["verdict: restoring begins"]
    planned = decide.run().rounds["plan of all (bound: 100)"]
    return [
        detection(folder),
        Row(
            "plan of one environment with 1,000 services and dependencies",
            "ms of CPU",
            statistics.median(planned),
            bound=100.0,
        ),
        Row("a restore begins after the verdict", "ms", statistics.median(restored), bound=50.0),
        idle(folder / "idle"),
    ]


def detection(folder: Path) -> Row:
    """From the instant at which a local remote's branch moves to the begin of the pass of the environment concerned.

    The floor is a `git fetch` of the same commit into another bare repository. Every commit is there, unpublished,
    before it is timed.
    """
    size = sized(1_000)
    remote, other = world.repository(size, folder), folder / "other.git"
    git(folder, "clone", "--quiet", "--bare", str(remote), str(other))
    ready = [_commit(remote, number) for number in range(DETECTIONS)]
    with world.core_over(folder) as core:
        took, floor = asyncio.run(_detected(Daemon(core, accept_first=True), remote, other, ready))
    figure, bare = statistics.median(took), statistics.median(floor)
    return Row(
        "a commit lands in a watched remote → the pass begins",
        "ms",
        figure,
        bound=bare + BEYOND_FETCH_MS,
        floor=bare,
    )


async def _detected(
    daemon: Daemon, remote: Path, other: Path, ready: list[str]
) -> tuple[list[float], list[float]]:
    begun, once, took, floor = asyncio.Event(), EnvironmentPass.once, list[float](), list[float]()
    at_s = 0.0

    async def begins(here: EnvironmentPass) -> None:
        nonlocal at_s
        if here.name == "e0000" and not begun.is_set():
            at_s = time.perf_counter()
            begun.set()
        await once(here)

    EnvironmentPass.once = begins  # type: ignore[method-assign, assignment]  # to see when it is called
    running = asyncio.create_task(daemon.run())
    try:
        while daemon.fleet.tip is None or not all(one.rest.begun for one in daemon.fleet.passes.values()):  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.1)
        for commit in ready:
            begun.clear()
            landed_s = time.perf_counter()
            _land(remote, commit)
            await asyncio.wait_for(begun.wait(), WAIT_S)
            took.append((at_s - landed_s) * 1000)
            began_s = time.perf_counter()
            argv = ("git", "-C", str(other), "fetch", "--quiet", "--no-tags", str(remote), f"+{REF}:{REF}")
            await asyncio.to_thread(subprocess.run, argv, check=True)
            floor.append((time.perf_counter() - began_s) * 1000)
            await asyncio.sleep(0.3)  # until it is at rest again
    finally:
        EnvironmentPass.once = once  # type: ignore[method-assign]
        daemon.stop()
        await running
    return took, floor


def _commit(remote: Path, number: int) -> str:
    """A commit that changes e0000's file, on the one made before, published nowhere yet."""
    text = git(remote, "show", f"{REF}:environments/e0000.yaml") + f"# {number}\n"
    pins = text.replace('s00000: "1.1.0"', 's00000: "1.0.0"') if number % 2 else text
    parent = git(remote, "rev-parse", "--verify", "refs/bench/next" if number else REF).strip()
    stamp = f"committer Ada <ada@example.org> {1_767_300_000 + number} +0000"
    head = f"commit refs/bench/next\n{stamp}\ndata 4\nMove\nfrom {parent}\n"
    data = pins.encode()
    body = f"M 100644 inline environments/e0000.yaml\ndata {len(data)}\n".encode()
    subprocess.run(
        ("git", "-C", str(remote), "fast-import", "--quiet", "--force"),
        input=head.encode() + body + data + b"\n",
        check=True,
    )
    return git(remote, "rev-parse", "refs/bench/next").strip()


def _land(remote: Path, commit: str) -> None:
    """What Git does last of a push: the branch's file is replaced."""
    lock = remote / f"{REF}.lock"
    lock.write_text(f"{commit}\n")
    lock.replace(remote / REF)


def idle(folder: Path) -> Row:
    """The resident memory of a real daemon beside ten real services, some time after all of them were deployed.

    Python finds all of it compiled, as it is where `pip` has installed it: who compiles holds some megabytes more.
    """
    compileall.compile_dir(Path(reconciler.__file__).parent, quiet=1)
    folder.mkdir()
    with a_world(folder) as here:
        for number in range(SERVICES):
            here.release("1.0.0", service=f"s{number}", soak="0s")
            here.pin("1.0.0", f"s{number}")
        here.merge("Start")
        daemon = DaemonProcess(configured(here), here.state, "--accept-first", environment={})
        try:
            end_s = time.monotonic() + WAIT_S
            while _proven(here) < SERVICES:
                if time.monotonic() > end_s:
                    raise SystemExit(f"{_proven(here)} of {SERVICES} services were deployed")
                time.sleep(0.2)
            time.sleep(2)
            return Row(
                "memory at rest, 10 services", "MB", rss_kib(daemon.process.pid) / KIB_PER_MB, bound=80.0
            )
        finally:
            daemon.stop()


def _proven(here: World) -> int:
    with contextlib.suppress(UgsError), contextlib.closing(store_of(here)) as store:
        return sum(one.phase == "succeeded" for one in store.upgrades(limit=SERVICES))
    return 0
