"""Threads for what blocks in a driver or a probe: what hangs takes its own environment's, and nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Generic, ParamSpec, TypeVar

AT_ONCE_MAX = 12
"""Calls of one environment; more wait for these."""
PROMPT_MAX = 32
"""Calls of all environments, as long as they answer promptly."""
SLOW_S = 0.1
"""Whoever has not answered by then holds up no other environment any longer."""
THREADS_MAX = 512

P = ParamSpec("P")
T = TypeVar("T")


class Lanes:
    """Used from the daemon's loop alone.

    There are as many threads as calls were ever under way at once: a few, and those that hang. Not before forty
    environments hang with all that they may ask at once does anybody else have to wait for them.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="lane")
        self._prompt = asyncio.Semaphore(PROMPT_MAX)
        self._lanes: dict[str, asyncio.Semaphore] = {}

    async def call(self, environment: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What a blocking call answers or raises. A thread goes on when whoever waits for it is cancelled, and counts
        until it has ended."""
        lane = self._lanes.setdefault(environment, asyncio.Semaphore(AT_ONCE_MAX))
        await lane.acquire()
        try:
            await self._prompt.acquire()
        except BaseException:
            lane.release()
            raise
        one = _Call(partial(call, *args, **kwargs), lane, self._prompt, named=getattr(call, "__name__", ""))
        try:
            # Awaited as it is, so that nothing comes between the answer and what is made of it.
            answer: T = await one.loop.run_in_executor(self._threads, partial(copy_context().run, one))
        except BaseException:
            one.leave()
            raise
        return answer

    def close(self) -> None:
        """Wait for every thread: as long as one goes on, nobody else is to act here."""
        self._threads.shutdown()


class _Call(Generic[T]):
    """One call, and what it holds until its thread has ended, whoever waits for that."""

    def __init__(
        self, call: Callable[[], T], lane: asyncio.Semaphore, prompt: asyncio.Semaphore, *, named: str
    ) -> None:
        self.__name__ = named
        self.loop = asyncio.get_running_loop()
        self._call, self._lane, self._prompt = call, lane, [prompt]
        self._begun = threading.Lock()
        """Taken by the thread, or by whoever sees to it that none begins."""
        self._timer = self.loop.call_later(SLOW_S, self._slow)

    def __call__(self) -> T:
        """In a thread."""
        if not self._begun.acquire(blocking=False):
            raise RuntimeError("nobody waits for it any more")
        try:
            return self._call()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self.loop.call_soon_threadsafe(self._over)

    def leave(self) -> None:
        """Nobody waits for it any more: a thread that has begun goes on, and one that has not never will."""
        if self._begun.acquire(blocking=False):
            self._over()

    def _slow(self) -> None:
        while self._prompt:
            self._prompt.pop().release()

    def _over(self) -> None:
        self._timer.cancel()
        self._slow()
        self._lane.release()
