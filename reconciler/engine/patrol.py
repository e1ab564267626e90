"""Looking at environments at rest, many in one turn of a thread: so a look costs little beyond the question itself."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from reconciler.clock import Clock
from reconciler.engine.fleet import Fleet
from reconciler.engine.reconcile import EnvironmentPass

LANE = ""
"""No environment's: a turn that hangs at one is not to take from the threads of another, at which it began."""
PATROL_S = 10.0
PROMPT_S = 0.02
"""Whoever took longer to say what runs is looked at alone, so that the others need not wait for it."""
HUNG_S = 0.1
"""Whoever has not answered by then, from there on."""


class Patrol:
    """One for the daemon. What it finds otherwise is for the environment's own pass to see: it is woken."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._clock = fleet, fleet.core.clock

    async def keep(self) -> None:
        while True:
            await self._clock.sleep(PATROL_S)
            await self.round()

    async def round(self) -> int:
        """Look once at each that rests, but for those that are looked at alone; how many those were."""
        resting = [here for here in self._fleet.passes.values() if here.rest.together]
        left = deque[EnvironmentPass]()
        for here in resting:
            if here.rest.holds():
                left.append(here)
            else:
                here.wake.set()
        while left:
            left = await self._turn(left)
        return len(resting)

    async def _turn(self, environments: Iterable[EnvironmentPass]) -> deque[EnvironmentPass]:
        """A thread looks at one after the other. Those that it did not come to, since it hangs at one, are left."""
        turn, core = _Turn(environments, self._clock), self._fleet.core
        looking = asyncio.ensure_future(core.drive(LANE, turn.take))
        try:
            while not looking.done():
                before = turn.asked
                await asyncio.wait([looking], timeout=HUNG_S)
                if not looking.done() and turn.asked is before and before is not None:
                    turn.slow.append(before)
                    break
            else:
                looking.result()  # a bug is nobody's to bear with
        finally:
            turn.over = True
        for here in turn.slow:
            here.rest.look_alone()
        for here in (*turn.slow, *turn.otherwise):
            here.wake.set()
        return deque(turn.left)


class _Turn:
    """Of one thread."""

    def __init__(self, environments: Iterable[EnvironmentPass], clock: Clock) -> None:
        self.left = deque(environments)
        self.asked: EnvironmentPass | None = None
        """Whose engine has yet to answer."""
        self.otherwise: list[EnvironmentPass] = []
        self.slow: list[EnvironmentPass] = []
        self.over = False
        """Nobody waits for it any more."""
        self._clock = clock

    def take(self) -> None:
        while self.left and not self.over:
            self.asked = here = self.left.popleft()
            asked_s = self._clock.monotonic()
            if not here.looks_as_seen():
                self.otherwise.append(here)
            elif self._clock.monotonic() - asked_s > PROMPT_S:
                self.slow.append(here)
            self.asked = None
