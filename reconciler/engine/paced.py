"""Long work in short pieces: the loop is everybody's, and nobody holds it for as long as one environment is large."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import ParamSpec, TypeVar

from reconciler.clock import Clock
from reconciler.store import Store

HOLD_S = 0.005
"""So long a piece may hold the loop; with the commit behind it that is some 20 ms at most."""
PAUSE_S = 0.004
"""So long the loop is everybody else's then."""
ASIDE_MIN = 200
"""Less than that is done sooner than it is handed to a thread."""

P = ParamSpec("P")
T = TypeVar("T")


class Piece:
    """How long the loop is held by now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._end_s = clock.monotonic() + HOLD_S

    @property
    def over(self) -> bool:
        return self._clock.monotonic() >= self._end_s

    async def rest(self) -> bool:
        """Let others have the loop where this piece is over, and begin the next; whether it was."""
        if not self.over:
            return False
        await self._clock.sleep(PAUSE_S)
        self._end_s = self._clock.monotonic() + HOLD_S
        return True


async def written(store: Store, clock: Clock, writes: Iterable[Callable[[], object]]) -> None:
    """Call each, in order: as many in one transaction as fit in a piece. What one of them writes is whole in any
    case."""
    left, piece = deque(writes), Piece(clock)
    while left:
        with store.transaction() if len(left) > 1 else nullcontext():
            left.popleft()()
            while left and not piece.over:
                left.popleft()()
        await piece.rest()


async def aside(size: int, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What only computes: in a thread where it is about so many that it would hold the loop."""
    if size < ASIDE_MIN:
        return call(*args, **kwargs)
    return await asyncio.to_thread(call, *args, **kwargs)
