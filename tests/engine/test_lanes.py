"""An engine that hangs in one environment delays no other's calls, nor any other that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from reconciler.engine.lanes import AT_ONCE_MAX, PROMPT_MAX, Lanes
from reconciler.model.errors import HostError

WAIT_S = 30.0


class Hanging:
    """A driver's call that answers when it is let go."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.under_way = 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.under_way += 1
        self.free.wait(WAIT_S)
        return "late"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.free.set()


async def eventually(hanging: Hanging, number: int) -> None:
    end_s = time.monotonic() + WAIT_S
    while hanging.under_way < number:
        assert time.monotonic() < end_s, f"{hanging.under_way} of {number} are under way"
        await asyncio.sleep(0.01)


async def test_an_answer_is_asked_for_while_forty_other_environments_hang(hanging: Hanging) -> None:
    lanes = Lanes()
    late = [
        asyncio.create_task(lanes.call(f"e{number}", hanging))
        for number in range(40)
        for _ in range(AT_ONCE_MAX)
    ]
    assert len(late) > 10 * PROMPT_MAX
    async with asyncio.timeout(WAIT_S):
        assert await lanes.call("production", lambda: "prompt") == "prompt"
    assert not any(task.done() for task in late)
    await eventually(hanging, len(late))
    hanging.free.set()
    assert set(await asyncio.gather(*late)) == {"late"}


async def test_an_environment_that_hangs_takes_so_many_threads_and_no_more(hanging: Hanging) -> None:
    lanes = Lanes()
    late = [asyncio.create_task(lanes.call("staging", hanging)) for _ in range(AT_ONCE_MAX + 5)]
    await eventually(hanging, AT_ONCE_MAX)
    for task in late[:3]:  # nobody waits for these any more, but their threads are still taken
        task.cancel()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            await eventually(hanging, AT_ONCE_MAX + 1)
    assert hanging.under_way == AT_ONCE_MAX
    hanging.free.set()
    await asyncio.gather(*late, return_exceptions=True)
    assert hanging.under_way == AT_ONCE_MAX + 5


async def test_what_a_call_raises_is_raised_and_the_next_is_made() -> None:
    lanes = Lanes()

    def broken() -> None:
        raise HostError("the engine is down", "start it")

    for _ in range(AT_ONCE_MAX + 1):
        with pytest.raises(HostError, match="the engine is down"):
            await lanes.call("production", broken)


async def test_who_is_cancelled_while_it_waits_for_its_turn_takes_nobodys(hanging: Hanging) -> None:
    lanes = Lanes()
    late = [asyncio.create_task(lanes.call("staging", hanging)) for _ in range(AT_ONCE_MAX)]
    await eventually(hanging, AT_ONCE_MAX)
    waiting = asyncio.create_task(lanes.call("staging", lambda: "prompt"))
    await asyncio.sleep(0)
    waiting.cancel()
    hanging.free.set()
    await asyncio.gather(*late)
    assert await lanes.call("staging", lambda: "prompt") == "prompt"


async def test_closing_waits_for_a_call_that_nobody_waits_for(hanging: Hanging) -> None:
    lanes = Lanes()
    late = asyncio.create_task(lanes.call("staging", hanging))
    await eventually(hanging, 1)
    late.cancel()
    closed = asyncio.create_task(asyncio.to_thread(lanes.close))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(closed), 0.2)
    hanging.free.set()
    async with asyncio.timeout(WAIT_S):
        await closed
