"""From push to "the old process is replaced and the new one is proven", split into its parts.

A real bare repository on this disk, a real daemon that watches it, a real service of one small Python process
with no soak, so that what is measured is UGS and not the patience that a manifest asks for.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from benchmarks.result import Result
from reconciler.model.errors import UgsError
from reconciler.model.upgrade import Upgrade
from reconciler.store import AuditRow, Store
from tests.world import World, a_world

ROUNDS = 9
WAIT_S = 60.0
PARTS = ("detection", "decision", "start", "proof", "total")


def run() -> Result:
    """The parts of each of so many deployments, in ms."""
    with tempfile.TemporaryDirectory() as folder, a_world(Path(folder)) as world:
        rounds = measure(world)
    return Result("from push to proven", "ms", {part: [one[part] for one in rounds] for part in PARTS})


def measure(world: World) -> list[dict[str, float]]:
    """Deploy one version after another to a daemon that runs all the while; the parts of each, in ms."""
    for number in range(ROUNDS + 1):
        world.release(f"1.{number}.0", soak="0s")
    world.pin("1.0.0")
    world.merge("Start")
    config = world.configure()
    argv = (sys.executable, "-m", "reconciler.cli", "run", "--config", str(config), "--log-level", "error")
    daemon = subprocess.Popen(argv)
    try:
        wait_for(world, "1.0.0")
        return [deploy(world, f"1.{number}.0") for number in range(1, ROUNDS + 1)]
    finally:
        daemon.terminate()
        daemon.wait(WAIT_S)


def deploy(world: World, version: str) -> dict[str, float]:
    """Merge one bump and wait until it is proven. Detection includes the fetch; start includes stopping the old."""
    world.pin(version)
    commit = world.merge(f"Bump to {version}")
    pushed = datetime.now(UTC)
    upgrade, accepted = wait_for(world, version, commit)
    seen = (pushed, accepted, upgrade.started_at, upgrade.verifying_at, upgrade.ended_at)
    marks = [mark for mark in seen if mark is not None]
    spans = [*pairwise(marks), (marks[0], marks[-1])]
    return {part: (to - since).total_seconds() * 1000 for part, (since, to) in zip(PARTS, spans, strict=True)}


def wait_for(world: World, version: str, commit: str = "") -> tuple[Upgrade, datetime]:
    """The succeeded upgrade to a version, and when its commit was accepted."""
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        with contextlib.suppress(UgsError), contextlib.closing(store_of(world)) as store:
            done = [u for u in store.upgrades(limit=1) if u.to and u.to.version.text == version and u.final]
            accepted = [row.at for row in store.audit_rows(limit=100) if is_acceptance(row, commit)]
            if done:
                return done[0], accepted[0]
        time.sleep(0.05)
    raise SystemExit(f"{version} was not deployed within {WAIT_S:g} s")


def store_of(world: World) -> Store:
    return Store(world.state / "ugs.db", now=lambda: datetime.now(UTC), read_only=True)


def is_acceptance(row: AuditRow, commit: str) -> bool:
    return row.event == "accepted" and commit in row.detail
