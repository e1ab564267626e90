"""How long recovering takes: from kill -9 to ready, and from a verdict of failure to everything back.

A real daemon, real processes, a real bare repository on this disk. What the daemon did when is read from its own
audit and journal; when a revert arrived is what the remote's own hook says.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.deploy import store_of
from benchmarks.result import Result
from reconciler.model.errors import UgsError
from reconciler.model.upgrade import Upgrade
from tests.daemon_process import DaemonProcess, configured
from tests.world import World, a_world

ROUNDS = 25
WAIT_S = 60.0
ARRIVED = '#!/bin/sh\ndate +%s.%N > "{file}.new" && mv "{file}.new" "{file}"\n'


def run(rounds: int = ROUNDS) -> Result:
    """So many kills, and so many releases that fail, in ms."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, a_world(Path(folder)) as world:
        arrived = world.folder / "arrived"
        hook = world.remote / "hooks" / "post-receive"
        hook.write_text(ARRIVED.format(file=arrived))
        hook.chmod(0o755)
        world.deploy_first("1.0.0")
        for number in range(1, rounds + 1):
            world.release(f"2.{number}.0", "unhealthy")
        config = configured(world)
        daemon = DaemonProcess(config, world.state, environment={})
        try:
            daemon.until_runs("1.0.0")
            for number in range(1, rounds + 1):
                for part, figure in taken_back(world, f"2.{number}.0", arrived).items():
                    found.setdefault(part, []).append(figure)
            for _ in range(rounds):
                daemon.kill()
                began_s = time.monotonic()
                daemon = DaemonProcess(config, world.state, environment={})
                daemon.until_runs("1.0.0")
                found.setdefault("kill -9: all is known again", []).append(
                    (time.monotonic() - began_s) * 1000
                )
        finally:
            daemon.stop()
    return Result("recovery", "ms", found)


def taken_back(world: World, version: str, arrived: Path) -> dict[str, float]:
    """Pin a version that is not healthy, and see when what was done about it."""
    arrived.unlink(missing_ok=True)
    world.pin(version)
    world.merge(f"Bump to {version}")
    upgrade = until_reverted(world, version)
    while not arrived.exists():  # what was seen to arrive is told a moment later
        time.sleep(0.01)
    with contextlib.closing(store_of(world)) as store:
        at = {row.event: row.at for row in store.audit_rows(limit=100) if row.operation == upgrade.operation}
        [restore] = [step for step in store.steps(upgrade.operation) if step.step == "restore"]
    pushed = datetime.fromtimestamp(float(arrived.read_text()), UTC)
    verdict = at["restoring"]
    assert restore.ended_at is not None
    since = {
        "verdict: restoring begins": restore.started_at,
        "verdict: the old one is started": restore.ended_at,
        "verdict: the old one has answered": at["reverting"],
        "verdict: the revert has arrived": pushed,
    }
    return {part: (then - verdict).total_seconds() * 1000 for part, then in since.items()}


def until_reverted(world: World, version: str) -> Upgrade:
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        with contextlib.suppress(UgsError), contextlib.closing(store_of(world)) as store:
            done = [u for u in store.upgrades(limit=1) if u.to and u.to.version.text == version and u.final]
            if done:
                assert done[0].phase == "reverted", done[0].reason
                return done[0]
        time.sleep(0.02)
    raise SystemExit(f"{version} was not taken back within {WAIT_S:g} s")


if __name__ == "__main__":
    print(run(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS).table())
