"""Bumps, changes of mind and roll-backs of one service at once: told in one order, or not at all."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.cli.graph import settings_from, store_of
from reconciler.model.target import Workload
from reconciler.model.upgrade import FINAL, Phase
from tests.api.test_routes import ask
from tests.daemon_process import DaemonProcess, daemon
from tests.history import Request, Write, unsound
from tests.world import World

BUMPS = 12
CLIENTS = 3
PAUSE_S_MAX = 1.2
CHANGE_OF_MIND = 0.3
AT = datetime(2026, 11, 28, tzinfo=UTC)


def version(work: Workload | None) -> str | None:
    return str(work.target.version) if work else None


def writes(world: World) -> list[Write]:
    """Every change of what runs, by the journal."""
    found = []
    with closing(store_of(settings_from(world.folder / "ugs.yaml"))) as store:
        assert store.verify_audit() is None
        for row in store.upgrades(environment="production", service="api", limit=1000):
            waits = row.phase is Phase.WAITING  # as the last pin does, where it was rolled back before
            assert waits or row.phase in FINAL, row
            reached = str(row.to.version) if row.to else None
            for step in store.steps(row.operation):
                if step.step in ("apply", "restore") and step.ended_at:
                    assert not waits, row
                    back = step.step == "restore"
                    before = version(row.before)
                    ends = (reached, before) if back else (before, reached)
                    failed = back and "rolled back by" not in row.reason  # a machine may be that busy
                    outlived = row.phase is Phase.SUPERSEDED
                    found.append(
                        Write(row.operation, *ends, back, step.started_at, step.ended_at, failed, outlived)
                    )
    return found


class Clients(threading.Thread):
    """Somebody who rolls back whatever runs, again and again."""

    def __init__(self, served: DaemonProcess, seed: int) -> None:
        super().__init__()
        self.requests: list[Request] = []
        self.enough = threading.Event()
        self._served, self._random = served, random.Random(seed)

    def run(self) -> None:
        body = {"environment": "production", "service": "api", "reason": "slow"}
        while not self.enough.wait(self._random.uniform(0, PAUSE_S_MAX)):
            sent_at = datetime.now(UTC)
            answer = ask(self._served, "POST", "/upgrade/rollback", body)
            assert answer.status in (200, 409), answer
            operation = answer.body["operation"] if answer.status == 200 else ""
            self.requests.append(Request(operation, sent_at, datetime.now(UTC)))


def merged(world: World, value: str) -> None:
    """Ada pins it on whatever the tip is by then."""
    while True:
        world.pin(value)
        try:
            world.merge(f"Pin {value}")
        except subprocess.CalledProcessError:  # a revert was faster
            world.ada.git("reset", "--quiet", "--hard", "HEAD^")
        else:
            return


def at_rest(running: DaemonProcess, world: World) -> bool:
    """Whether what was merged last is followed, and runs or waits."""
    [here] = running.status()["environments"]
    seen = running.service()
    ends = seen["phase"] == "waiting" or (seen["phase"] is None and seen["running"] == seen["pinned"])
    return bool(ends) and here["revision"] == world.tip()


@pytest.mark.slow
@pytest.mark.fault("AP-09")
@pytest.mark.parametrize("seed", [9, *(pytest.param(seed, marks=pytest.mark.crash) for seed in range(4))])
def test_bumps_and_roll_backs_at_once_are_one_after_the_other(world: World, seed: int) -> None:
    world.deploy_first("1.0.0")
    chance = random.Random(seed)
    with daemon(world) as running:
        running.until_runs("1.0.0")
        clients = [Clients(running, 10 * seed + number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            for number in range(1, BUMPS + 1):
                before = str(running.service()["running"] or "").partition("@")[0]
                world.release(f"1.{number}.0", deadline="60s", soak="300ms")
                merged(world, f"1.{number}.0")
                time.sleep(chance.uniform(0, PAUSE_S_MAX))
                if before and chance.random() < CHANGE_OF_MIND:
                    merged(world, before)
        finally:
            for client in clients:
                client.enough.set()
                client.join()
        running.until(lambda: at_rest(running, world))
    requests = [request for client in clients for request in client.requests]
    assert any(one.operation for one in requests), "none was granted"
    assert unsound(writes(world), requests, world.answers()) == []
    taken = [world.text_of(commit).partition("Ugs-Operation: ")[2].split()[0] for commit in world.reverts()]
    assert len(taken) == len(set(taken)), "(4) reverted twice"


def write(operation: str, found: str | None, left: str | None, from_s: int, until_s: int) -> Write:
    back = found is not None and (left is None or left < found)
    return Write(
        operation, found, left, back, AT + timedelta(seconds=from_s), AT + timedelta(seconds=until_s)
    )


def request(operation: str, from_s: int) -> Request:
    return Request(operation, AT + timedelta(seconds=from_s), AT + timedelta(seconds=from_s + 1))


SOUND = [write("a", None, "1", 0, 1), write("b", "1", "2", 2, 3), write("b", "2", "1", 5, 6)]
TWICE = ["b began from 2, and 1 ran", "b was taken back twice"]


@pytest.mark.parametrize(
    ("writes_", "requests", "runs", "says"),
    [
        (SOUND, [request("b", 4), request("", 4)], "1", []),
        (SOUND, [request("b", 4)], "2", ["1 was left, and 2 runs"]),
        (SOUND, [], "1", ["b was taken back, and nobody was told so"]),
        (SOUND, [request("b", 7)], "1", ["b was taken back before anybody asked"]),
        (SOUND[:2], [request("b", 4)], "2", ["b was granted, and not taken back"]),
        ([*SOUND[:2], write("b", "2", "1", 2, 6)], [request("b", 1)], "1", ["b began while b was at work"]),
        ([*SOUND, write("b", "2", "1", 7, 8)], [request("b", 4)], "1", TWICE),
    ],
)  # fmt: skip
def test_what_cannot_be_told_so_is_found(
    writes_: list[Write], requests: list[Request], runs: str, says: list[str]
) -> None:
    assert unsound(writes_, requests, runs) == says
