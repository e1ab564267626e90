"""A bug inside one upgrade, and one inside a loop: what is contained, and what ends the daemon."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from threading import Thread

import pytest

from reconciler.engine.daemon import Daemon
from reconciler.model.upgrade import Phase
from reconciler.store import Damaged
from tests.drivers.services import wait_until
from tests.store.broken import damage
from tests.world import World


class Bug(Exception):
    """What nobody expected."""


def stumble() -> None:
    raise Bug("an upgrade fell over its own feet")


async def test_a_bug_in_one_upgrade_is_told_with_its_operation_and_stops_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    world.at["settle:begun"] = stumble
    world.bump("1.1.0")
    daemon = Daemon(world.core)
    with caplog.at_level(logging.ERROR, "ugs"):
        running = asyncio.create_task(daemon.run())
        await world.until(Phase.VERIFYING)
        await asyncio.to_thread(wait_until, lambda: caplog.records)
        world.at.clear()
        world.bump("1.1.0", service="web")
        daemon.nudge()
        await world.until(Phase.SUCCEEDED, "web")
        daemon.stop()
        await running
    [record] = caplog.records
    upgrade = world.newest()
    assert upgrade is not None
    assert upgrade.operation in record.getMessage()
    assert record.exc_info is not None
    assert "bug api" in world.events()
    assert upgrade.phase is Phase.VERIFYING

    world.forget()
    await asyncio.wait_for(Daemon(world.core).run_once(), 30)
    assert world.phases() == ["succeeded", "succeeded"]


async def test_once_ends_in_spite_of_a_bug_and_does_not_call_that_well(world: World) -> None:
    world.deploy_first("1.0.0")
    world.at["apply:begun"] = stumble
    assert await asyncio.wait_for(Daemon(world.core).run_once(), 20) is False


async def test_a_bug_in_a_loop_ends_the_daemon(world: World) -> None:
    world.deploy_first("1.0.0")

    async def companion() -> None:
        stumble()

    with pytest.raises(Bug):
        await Daemon(world.core).run(companion)


async def test_a_damaged_database_ends_the_daemon_whatever_those_who_meet_it_make_of_it(world: World) -> None:
    world.deploy_first("1.0.0")
    daemon = Daemon(world.core)

    async def companion() -> None:
        damage(world.core.store)
        await asyncio.Event().wait()

    with pytest.raises(Damaged, match="disk I/O error"):
        await asyncio.wait_for(daemon.run(companion), 30)


async def test_once_ends_when_the_database_is_damaged(world: World) -> None:
    world.deploy_first("1.0.0")
    world.at["apply:begun"] = lambda: damage(world.core.store)
    with pytest.raises(Damaged, match="disk I/O error"):
        await asyncio.wait_for(Daemon(world.core).run_once(), 30)


async def test_a_signal_is_heard_by_a_loop_that_threads_have_much_to_tell(world: World) -> None:
    world.deploy_first("1.0.0")

    async def companion() -> None:
        """Busy for a while, as on a machine that is: what threads say meanwhile fills the pipe that wakes the loop."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            for _ in range(5_000):
                loop.call_soon_threadsafe(int)
            os.kill(os.getpid(), signal.SIGTERM)

        thread = Thread(target=tell)
        thread.start()
        thread.join()
        await asyncio.Event().wait()

    await asyncio.wait_for(Daemon(world.core).run(companion), 30)
