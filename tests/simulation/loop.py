"""An event loop on a virtual clock: nothing waits, and what is ready at one instant runs in a seeded order.

Everything runs on one thread. What the engine hands to a thread is called at a later virtual instant, and its
answer arrives at a later one still, so that all else may happen before, between and after.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

from reconciler.clock import SystemClock

EPOCH = datetime(2026, 3, 2, 9, 0, 40, tzinfo=UTC)
"""Where virtual time begins: on a Monday, in the last third of a minute."""
INSTANTS_MAX = 1_000
TASKS_MAX = 200
"""Of so many that were made since, those that are done are forgotten."""


class Time:
    """Virtual seconds since the beginning; one for the loop and for the world around it."""

    def __init__(self) -> None:
        self.now_s = 0.0


class Later(NamedTuple):
    """What a blocking call answers that is not over: it is called again like this."""

    after_s: float
    call: Callable[[], object]


class Handle:
    """A callback that will run once, unless it is cancelled before."""

    __slots__ = ("arguments", "callback", "context", "gone", "when_s")

    def __init__(
        self,
        when_s: float,
        callback: Callable[..., object],
        arguments: tuple[object, ...],
        context: contextvars.Context | None,
    ) -> None:
        self.when_s, self.callback, self.arguments, self.context = when_s, callback, arguments, context
        self.gone = False

    def cancel(self) -> None:
        self.gone = True
        self.callback, self.arguments = _nothing, ()  # as asyncio does: they may refer to whoever has this

    def cancelled(self) -> bool:
        return self.gone

    def when(self) -> float:
        return self.when_s


def _nothing() -> None:
    """What a callback that was cancelled does."""


class Task(asyncio.Task[Any]):
    """A task whose place in a set is the same at every replay: asyncio and the engine keep sets of them."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, number: int, **more: Any) -> None:
        self.number = number
        super().__init__(coro, **more)

    def __hash__(self) -> int:
        return self.number


class Loop(asyncio.AbstractEventLoop):
    """One daemon's loop. It ends with its daemon; the clock goes on with the next one's."""

    def __init__(
        self, random: Random, latency: Callable[[str], tuple[float | None, float]], time: Time
    ) -> None:
        """`latency`: for a blocking call by name, how long until it has its effect, and until it answers; None: the
        thread is done with it before anything else happens here."""
        self._random, self._latency = random.random, latency
        self._time = time
        self._ready: list[Handle] = []
        self._timers: list[tuple[float, int, Handle]] = []
        self._numbers = itertools.count(1)
        self._tasks: list[Task] = []
        self._tasks_max = TASKS_MAX
        self.events = 0
        self.handed_s = 0.0
        """When what is called at this moment was handed to a thread: what was decided by then counts for it."""
        self.trouble: list[str] = []
        """What asyncio reported as an exception that nobody took."""

    # the simulation's side

    def run_until(self, end_s: float, stopped: Callable[[], bool] = lambda: False) -> None:
        """Let everything happen that is due until then, or until `stopped`."""
        ready, random = self._ready, self._random
        asyncio._set_running_loop(self)
        try:
            while not stopped() and (ready or self._advance(end_s)):
                if len(ready) > 1:
                    at = int(random() * len(ready))
                    ready[at], ready[-1] = ready[-1], ready[at]
                handle = ready.pop()
                if handle.gone:
                    continue
                self.events += 1
                if handle.context is None:
                    handle.callback(*handle.arguments)
                else:
                    handle.context.run(handle.callback, *handle.arguments)
        finally:
            asyncio._set_running_loop(None)

    def due_s(self) -> float:
        """When something is to happen next, infinity when nothing is."""
        if self._ready:
            return self._time.now_s
        while self._timers and self._timers[0][2].gone:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else math.inf

    def die(self) -> None:
        """Throw away all that was under way, here and now: later, the garbage collector would do so whenever it
        likes, and whatever tidies up behind itself would do that on the next daemon's loop."""
        asyncio._set_running_loop(self)
        for task in [task for task in self._tasks if not task.done()]:
            with contextlib.suppress(RuntimeError):  # it would have awaited something more
                task.get_coro().close()
        asyncio._set_running_loop(None)
        self._ready.clear()
        self._timers.clear()

    def _advance(self, end_s: float) -> bool:
        """Move time on to the next timer, and make ready all that is due then."""
        timers = self._timers
        while timers and timers[0][2].gone:
            heapq.heappop(timers)
        if not timers or timers[0][0] > end_s:
            self._time.now_s = max(self._time.now_s, end_s)
            return False
        self._time.now_s = max(self._time.now_s, timers[0][0])
        while timers and timers[0][0] <= self._time.now_s:
            self._ready.append(heapq.heappop(timers)[2])
        return True

    # asyncio's side

    def time(self) -> float:
        return self._time.now_s

    def call_soon(  # type: ignore[override]  # a Handle of our own serves as asyncio's
        self,
        callback: Callable[..., object],
        *args: object,
        context: contextvars.Context | None = None,
    ) -> Handle:
        handle = Handle(self._time.now_s, callback, args, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # there is only one thread

    def call_at(  # type: ignore[override]  # as above
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: contextvars.Context | None = None,
    ) -> Handle:
        handle = Handle(when, callback, args, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(  # type: ignore[override]  # as above
        self,
        delay: float,
        callback: Callable[..., object],
        *args: object,
        context: contextvars.Context | None = None,
    ) -> Handle:
        when_s = self._time.now_s + delay
        handle = Handle(when_s, callback, args, context)
        heapq.heappush(self._timers, (when_s, next(self._numbers), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **more: Any) -> Task:
        if len(self._tasks) == self._tasks_max:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._tasks_max = len(self._tasks) + TASKS_MAX
        task = Task(coro, number=next(self._numbers), loop=self, **more)
        self._tasks.append(task)
        return task

    def run_in_executor(self, _executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # no threads here
        future = self.create_future()
        before_s, after_s = self._latency(_name(func))
        call = Call(self, func, args, future, after_s)
        if before_s is None:
            call()
        elif before_s:
            self.call_later(before_s, call)
        else:
            self.call_soon(call)
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def add_signal_handler(  # type: ignore[override]  # there are no signals
        self, sig: int, callback: Callable[..., object], *args: Any
    ) -> None:
        """Signals are sent by calling what would heed them."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.trouble.append(f"{context.get('message')}: {context.get('exception')!r}")


class Call:
    """A blocking call that was handed to a thread: it has its effect when it is called, and answers later.

    No closure, which would refer to itself and wait for the collector of garbage.
    """

    __slots__ = ("_after_s", "_arguments", "_func", "_future", "_handed_s", "_loop")

    def __init__(
        self,
        loop: Loop,
        func: Callable[..., Any],
        arguments: tuple[Any, ...],
        future: asyncio.Future[Any],
        after_s: float,
    ) -> None:
        self._loop, self._func, self._arguments = loop, func, arguments
        self._future, self._after_s, self._handed_s = future, after_s, loop.time()

    def __call__(self, again: Callable[[], object] | None = None) -> None:
        # A thread goes on when the task that waits for it is cancelled; so does this.
        self._loop.handed_s = self._handed_s
        try:
            answer, error = again() if again else self._func(*self._arguments), None
        except Exception as raised:
            answer, error = None, raised
        if isinstance(answer, Later):
            self._loop.call_later(answer.after_s, self, answer.call)
        elif self._after_s:
            self._loop.call_later(self._after_s, settle, self._future, answer, error)
        else:
            settle(self._future, answer, error)


def settle(future: asyncio.Future[Any], answer: object, error: Exception | None) -> None:
    if future.done():  # cancelled, or awaited no longer
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(answer)


def _name(func: Callable[..., object]) -> str:
    """What a blocking call is, as far as it says: asyncio.to_thread hands over a partial of Context.run."""
    called = getattr(func, "args", (func,))[0]
    return str(getattr(called, "__name__", ""))


class VirtualClock(SystemClock):
    """The clock that the engine reads: the loop's."""

    def __init__(self, loop: Loop, time: Time, shown: Callable[[], datetime]) -> None:
        """`shown`: what the machine's wall clock shows."""
        self._loop, self._time = loop, time
        self.now = shown  # type: ignore[method-assign]  # called often: without a detour

    def monotonic(self) -> float:
        return self._time.now_s

    async def wait(self, event: asyncio.Event, timeout_s: float) -> bool:
        """As the real one, without its detour: there, the end of a time is a cancellation, and takes it back."""
        if event.is_set():
            return True
        came = self._loop.create_future()
        waiting: deque[asyncio.Future[Any]] = event._waiters  # as Event.wait does
        waiting.append(came)
        end = self._loop.call_later(timeout_s, settle, came, False, None)
        try:
            answer: bool = await came
        finally:
            end.cancel()
            waiting.remove(came)
        return answer


@lru_cache(maxsize=INSTANTS_MAX)
def instant(at_s: float) -> datetime:
    """The virtual instant, `at_s` seconds after the beginning."""
    return EPOCH + timedelta(seconds=at_s)
