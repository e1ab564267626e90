"""Proof and doubt: unknown is neither healthy nor failed, and what degrades later is told and never reverted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from reconciler.engine import people
from reconciler.model.upgrade import Phase
from tests.drivers.services import get_json
from tests.world import World

UNPROVABLE = '{command: ["/nowhere/selftest"], interval: 50ms}'
"""A probe that can never be made: no machine has that program."""


async def a_doubtful_bump(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", probe=UNPROVABLE, deadline="1s")
    await world.reach(Phase.VERIFYING)


async def test_doubt_alone_extends_the_deadline_once_and_then_calls_a_person(world: World) -> None:
    await a_doubtful_bump(world)
    tip = world.tip()
    await world.settle()

    assert world.phases() == ["succeeded", "stuck"]
    assert world.answers() == "1.1.0"  # it runs on as it is
    assert world.tip() == tip
    stuck = world.newest()
    assert stuck is not None
    assert stuck.ended_at is not None
    assert stuck.verifying_at is not None
    assert stuck.ended_at - stuck.verifying_at >= timedelta(seconds=2)
    [call] = world.calls()
    assert "nothing could be proved within 2 s" in call
    assert [row.operation for row in world.core.store.quarantined("production")] == [stuck.operation]


async def test_what_was_doubtful_is_judged_again_when_a_person_says_so(world: World) -> None:
    await a_doubtful_bump(world)
    await world.settle()
    pid = world.pid()
    text = world.text("releases/api/1.1.0.yaml")
    world.files["releases/api/1.1.0.yaml"] = text[: text.index("    - {command")]
    world.merge("That selftest is nowhere")
    await world.settle()
    assert world.phases() == ["succeeded", "stuck"]
    assert world.view().gates[0].reason.startswith("1.1.0 failed here before")

    await people.retry(world.fleet, "production", "api", actor="Ada")
    await world.settle()
    assert world.phases()[-1] == "succeeded"
    assert world.pid() == pid
    assert world.core.store.good("production", "api")[0][0].target == world.view().running


@pytest.mark.fault("RT-04")
async def test_a_version_that_says_it_is_another_is_a_failure(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "wrong-version")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"


async def test_a_version_that_crashes_is_a_failure(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "crash")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"


async def test_restoring_begins_within_a_second_of_the_verdict(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    newest = world.newest()
    assert newest is not None
    rows = {
        row.event: row.at
        for row in world.core.store.audit_rows(limit=100)
        if row.operation == newest.operation
    }
    [restore] = [step for step in world.core.store.steps(newest.operation) if step.step == "restore"]
    assert restore.started_at - rows["quarantined"] < timedelta(seconds=1)
    assert rows["reverting"] - rows["quarantined"] < timedelta(seconds=30)


async def test_what_degrades_later_is_told_once_and_never_reverted(world: World) -> None:
    ill = world.folder / "ill"
    world.release("1.0.0", probe=f'{{command: ["test", "!", "-e", "{ill}"], interval: 50ms, failures: 2}}')
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    tip, here = world.tip(), world.fleet.passes["production"]
    await here.look()
    assert world.view().health == "healthy"

    ill.touch()
    await here.look()
    assert world.view().health == "healthy"  # once is no spell
    for _ in range(3):
        await here.look()
    assert world.view().health == "degraded"
    [call] = world.calls()
    assert "production: api 1.0.0 is degraded" in call

    ill.unlink()
    await here.look()
    await world.settle()
    assert world.view().health == "healthy"
    assert world.told()[-1] == "production: api 1.0.0 is healthy"
    assert world.tip() == tip
    assert world.phases() == ["succeeded"]


async def test_a_probe_that_hangs_takes_no_thread_from_anybody_else(world: World) -> None:
    answer = world.folder / "answer"
    answer.touch()
    world.release(
        "1.0.0", probe=f'{{command: ["cat", "{answer}"], interval: 50ms, timeout: 60s}}', deadline="90s"
    )
    world.pin("1.0.0")
    world.merge()
    await world.settle()

    answer.unlink()
    os.mkfifo(answer)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    looking = asyncio.create_task(world.fleet.passes["production"].look())
    writers = list[int]()

    def hangs() -> list[int]:
        with contextlib.suppress(OSError):  # nobody reads yet
            writers.append(os.open(answer, os.O_WRONLY | os.O_NONBLOCK))
        return writers

    await world.eventually(hangs)
    async with asyncio.timeout(30):
        await world.fleet.refresh()
    assert not looking.done()
    os.close(writers[0])  # that ends it
    await looking
    assert world.view().health == "healthy"


async def test_what_degraded_while_the_engine_was_down_is_told_too(world: World) -> None:
    ill = world.folder / "ill"
    world.release("1.0.0", probe=f'{{command: ["test", "!", "-e", "{ill}"], interval: 50ms, failures: 1}}')
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    await world.stopped()
    ill.touch()
    await world.fleet.start()
    await world.settle()
    for _ in range(3):
        await world.fleet.passes["production"].look()
    assert [call for call in world.calls() if "api 1.0.0 is degraded" in call] == world.calls()
    assert len(world.calls()) == 1


@pytest.mark.fault("RT-04")
async def test_an_answer_that_somebody_else_gives_proves_nothing(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    stranger: list[socket.socket] = []
    world.at["phase:verifying"] = lambda: stranger.append(socket.create_server(("127.0.0.1", world.port())))
    world.bump("1.1.0", command='["sleep", "600"]', deadline="2s")
    await world.settle()
    stranger[0].close()
    assert world.phases() == ["succeeded", "stuck"]
    assert "is held by" in world.calls()[0]
    assert world.reverts() == []


@contextlib.contextmanager
def knocking(port: int) -> Iterator[list[str]]:
    """Ask the port for its version, over and over; what came, errors too."""
    seen: list[str] = []
    enough = threading.Event()

    def knock() -> None:
        while not enough.wait(0.002):
            try:
                seen.append(get_json(port, "/version")["version"])
            except OSError as error:
                seen.append(str(error))

    client = threading.Thread(target=knock)
    client.start()
    try:
        yield seen
    finally:
        enough.set()
        client.join()


async def test_blue_green_refuses_no_connection_for_good_or_bad(world: World) -> None:
    world.deploy_first("1.0.0", "web")
    passing = {"command": '["bin/api"]', "run": ", socket: pass", "more": "strategy: blue-green\n"}
    world.bump("1.0.0", "sockets", **passing)
    await world.settle()
    with knocking(world.port()) as knocks:
        world.bump("1.1.0", "sockets", **passing)
        await world.settle()
        assert world.answers() == "1.1.0"
        world.bump("1.2.0", "sockets", probe='{command: ["false"], interval: 50ms}', **passing)
        await world.settle()
    assert world.phases() == ["succeeded", "succeeded", "reverted"]
    assert world.answers() == "1.1.0"
    assert set(knocks) == {"1.0.0", "1.1.0", "1.2.0"}  # and no error among them
