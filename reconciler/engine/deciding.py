"""What becomes of each change in a pass: it starts, or it waits and that is on record."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from reconciler.engine.paced import Piece, aside
from reconciler.engine.trust import beyond
from reconciler.engine.weigh import arrangement
from reconciler.model.circumstances import Asked, Circumstances, Gate
from reconciler.model.desired import Desired, alike
from reconciler.model.gates import closed, evaluate, judged
from reconciler.model.order import Arrangement
from reconciler.model.plan import Change, Records, plan
from reconciler.model.upgrade import Upgrade

if TYPE_CHECKING:
    from reconciler.engine.reconcile import EnvironmentPass

Gates = tuple[Gate, ...]
Found = dict[str, tuple[Change, Gates]]
Waits = dict[str, tuple[Upgrade, Change, Gates]]


class Deciding:
    """Of one environment, whose pass keeps what runs. However many changes there are, the loop is held for a moment
    at a time."""

    def __init__(self, here: EnvironmentPass) -> None:
        self.here = here

    async def changes(self, desired: Desired, records: Records) -> list[Change]:
        """What would bring the environment to its pins."""
        here = self.here
        return await aside(
            len(desired.workloads), plan, desired, here.observed, records, now=here.core.clock.now()
        )

    async def weighed(self, desired: Desired, records: Records) -> Found:
        """Every change with its gates, and nothing done about it."""
        here = self.here
        changes = await self.changes(desired, records)
        asked = await here.weigher.all_asked(desired, changes)
        order = await self.order(desired, changes)
        around = self.around(
            desired, changes, asked, order, await here.weigher.all_expected(desired, changes)
        )
        here.decided = desired, around
        told: Found = {}
        piece = Piece(here.core.clock)
        for change in (*beyond(here.core, desired, here.observed), *changes):
            told[change.service] = self.gates(change, around)
            await piece.rest()
        return told

    async def start(self, desired: Desired, changes: list[Change], order: Arrangement) -> Found:
        """Start every change whose gates are all open, and record why the others wait.

        What was in hand since what runs was asked for was planned on what is so no longer."""
        here = self.here
        asked = await here.weigher.all_asked(desired, changes)
        expected_s = await here.weigher.all_expected(desired, changes)
        if self.is_left():
            return {}
        busy = here.engaged | here.handled
        ready = [change for change in changes if change.service not in busy]
        waiting = await here.ledger.retire(
            {change.service: (change, asked[change.service].revision) for change in ready}, busy
        )
        if self.is_left():  # others may have had the loop
            return {}
        # What is retired parks nothing any more.
        round_ = _Round(
            self, desired, partial(self.around, desired, changes, asked, order, expected_s), waiting
        )
        whole = await round_.all([change for change in ready if change.service not in here.busy])
        if whole and not round_.missed:
            await here.missed.look(desired.environment, round_.waits)
        for change in beyond(here.core, desired, here.observed):
            round_.told.setdefault(change.service, self.gates(change, round_.around))
        return round_.told

    def is_left(self) -> bool:
        """Whether it was given another name meanwhile: nothing is written under this one any more."""
        return self.here.name not in self.here.core.desired

    def gates(self, change: Change, around: Circumstances) -> tuple[Change, Gates]:
        """The change as it counts now, and every gate."""
        asked, now = around.asked.get(change.service), self.here.core.clock.now()
        change = judged(change, asked, around.environment.policy, now=now) if asked else change
        return change, evaluate(change, around, now=now)

    def shut_for(
        self, desired: Desired, change: Change, asked: Asked | None, order: Arrangement | None = None
    ) -> Gates:
        """The gates that are closed for a change at this moment. `order`: among the others; it is weighed alone without
        one."""
        known = {change.service: asked} if asked else {}
        return closed(self.gates(change, self.around(desired, [change], known, order))[1])

    async def order(
        self, desired: Desired, changes: Sequence[Change], settled: frozenset[str] = frozenset()
    ) -> Arrangement:
        """That of the changes. `settled`: services that run as they are pinned."""
        size = len(self.here.observed) if changes else 0
        return await aside(size, arrangement, desired, self.here.observed, changes, settled)

    def around(
        self,
        desired: Desired,
        changes: Sequence[Change],
        asked: Mapping[str, Asked],
        order: Arrangement | None = None,
        expected_s: Mapping[str, float] | None = None,
    ) -> Circumstances:
        """What the gates look at now."""
        here = self.here
        return here.weigher.circumstances(
            desired,
            here.observed,
            changes,
            asked=asked,
            busy=here.engaged,
            fetched_at=here.core.desired.fetched_at,
            first_accepted=here.accept_first,
            order=order,
            expected_s=expected_s,
        )


class _Round:
    """One change after another. Those that wait are put on record together, and each that starts by itself."""

    def __init__(
        self,
        deciding: Deciding,
        desired: Desired,
        look_around: Callable[[], Circumstances],
        waiting: Mapping[str, Upgrade],
    ) -> None:
        self._deciding, self._here, self._core = deciding, deciding.here, deciding.here.core
        self._desired, self._look_around, self._waiting = desired, look_around, waiting
        self.around = self._seen()
        self.told: Found = {}
        """Every change with its gates."""
        self.waits: Waits = {}
        """Those that are on record as waiting."""
        self.missed = False
        """Whether it is on record with them what windows they wait for."""
        self._rested, self._busy = False, frozenset[str]()
        """Whether others had the loop, and what was under way then."""

    async def all(self, ready: Sequence[Change]) -> bool:
        """Whether it came to the end: not where something else has come into force meanwhile."""
        left, piece, stale = deque(ready), Piece(self._core.clock), False
        while left:
            opened = self._look(left, piece)
            if opened is not None:
                # Somebody may have closed a gate while others had the loop: that is looked at by what is so now.
                if stale and not self._looked_anew():
                    return False  # the next pass is called for already
                await self._start(opened)
                stale = False
            if left:
                rested = await piece.rest()
                stale = rested or stale
                if rested and self._deciding.is_left():
                    return False
                if rested or opened is not None:
                    self._follow(rested=rested)
        return True

    def _look(self, left: deque[Change], piece: Piece) -> Change | None:
        """Put on record what waits, until this piece is over or something may start: that is the answer."""
        looked = writing = False
        with ExitStack() as stack:
            while left and not (looked and piece.over):
                planned, looked = left.popleft(), True
                if self._has_moved(planned):
                    continue
                change, gates = self._deciding.gates(planned, self.around)
                if not closed(gates):
                    return planned
                if wait := self._waits_for(planned, change, gates):
                    if not writing:
                        stack.enter_context(self._core.store.transaction())
                    writing = True
                    wait()
            if writing and not left:
                self.missed = self._here.missed.look_at_once(self._desired.environment, self.waits)
        return None

    def _follow(self, *, rested: bool) -> None:
        """What is under way by now."""
        busy = self._engaged()
        self.around = replace(self.around, busy=busy)
        if rested:
            self._rested, self._busy = True, self._busy | busy

    def _has_moved(self, planned: Change) -> bool:
        """Whether it was planned on what may be so no longer, since something was done about it meanwhile."""
        known = self._waiting.get(planned.service)
        return self._rested and (
            planned.service in self._busy
            or (known is not None and self._core.store.upgrade(known.operation) != known)
        )

    async def _start(self, planned: Change) -> None:
        """Begin it, if all its gates are open now."""
        if self._has_moved(planned):
            return
        change, gates = self._deciding.gates(planned, self.around)
        asked = self.around.asked[change.service]
        upgrade = self._waiting.get(change.service) or self._here.ledger.open(change, asked.revision)
        if not closed(gates):
            gates = await self._here.slots.asked(upgrade, gates, partial(self._looked_again, planned))
        if not closed(gates):
            self.told[planned.service] = change, gates
            self._here.carrying.launch(self._here.ledger.begin(upgrade, change), asked)
        elif wait := self._waits_for(planned, change, gates):
            wait()

    def _looked_again(self, planned: Change) -> tuple[Change, Gates]:
        return self._deciding.gates(planned, replace(self.around, busy=self._engaged()))

    def _engaged(self) -> frozenset[str]:
        """As the pass has it, and not by all that is unfinished: of very many that wait, every piece makes another
        list."""
        return self._here.busy | self._core.store.under_way(self._here.name)

    def _seen(self) -> Circumstances:
        around = self._look_around()
        self._here.decided = self._desired, around
        return around

    def _looked_anew(self) -> bool:
        """Whether it is still about what is in force."""
        now = self._core.desired.get(self._here.name)
        if now is None or not alike(self._desired, now):
            return False
        self.around = self._seen()
        return True

    def _waits_for(self, planned: Change, change: Change, gates: Gates) -> Callable[[], None] | None:
        """What puts it on record as waiting; None where nothing is to be written."""
        self.told[planned.service] = change, gates
        ledger, around = self._here.ledger, self.around
        revision, known = around.asked[change.service].revision, self._waiting.get(change.service)
        if not known and (planned.service in around.taken_back or ledger.announced(change, revision)):
            return None
        upgrade, shut = known or ledger.open(change, revision), closed(gates)
        if ledger.stands(upgrade, shut, change):
            self.waits[change.service] = upgrade, change, gates
            return None

        def wait() -> None:
            self.waits[change.service] = ledger.wait(upgrade, shut, change), change, gates

        return wait
