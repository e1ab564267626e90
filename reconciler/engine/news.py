"""What has just changed, for whoever listens: rows of the audit as they are committed, and what looks otherwise."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Protocol

from reconciler.engine.fleet import Fleet
from reconciler.engine.view import ServiceView
from reconciler.store import AuditRow

ROWS_MAX = 1_000
"""So many of the newest rows are kept at hand, for those who come back."""
LOOK_MIN_S = 0.1
LOOK_SHARE = 0.1
"""Looking for what looks otherwise takes at most this part of the time."""


class Listener(Protocol):
    """Called on the daemon's loop, and never to wait. `ended`: nothing more will come."""

    def row(self, row: AuditRow) -> None: ...
    def looks(self, environment: str | None, services: Collection[str]) -> None:
        """These services of the environment look otherwise than before; without one, the daemon itself does."""

    def ended(self) -> None: ...


class News:
    """Reads each row once, and compares each environment with itself once, however many listen.

    With nobody there, nothing is compared.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._core = fleet, fleet.core
        self._listeners: list[Listener] = []
        self._rows: deque[AuditRow] = deque(maxlen=ROWS_MAX)
        self._read_to: int | None = None
        self._committed, self._stirred = asyncio.Event(), asyncio.Event()
        self._seen: dict[str, Mapping[str, ServiceView]] = {}
        self._seen_daemon: object = None
        self._core.store.hearers.append(self._heard)

    def stir(self) -> None:
        """Something was observed; it may be as before."""
        if self._listeners:
            self._stirred.set()

    def listen(self, listener: Listener) -> None:
        """From now on, until `leave`."""
        self._catch_up()
        if not self._listeners:
            self._look()  # to know later what is otherwise
        self._listeners.append(listener)

    def leave(self, listener: Listener) -> None:
        """Hear no more; nothing where it left already."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    @property
    def listening(self) -> int:
        """How many do."""
        return len(self._listeners)

    @property
    def newest(self) -> int:
        """The number of the newest row; 0 where there is none."""
        self._catch_up()
        return self._read_to or 0

    def since(self, number: int) -> list[AuditRow] | None:
        """Every row after that one, oldest first; None where they are more than are kept at hand, or it never was."""
        newest = self.newest
        missed = newest - number
        if not 0 <= missed <= len(self._rows):
            return None
        return list(islice(self._rows, len(self._rows) - missed, None))

    def latest(self, number: int) -> list[AuditRow]:
        """So many of the newest rows that are kept at hand, the newest first."""
        self._catch_up()
        return list(islice(reversed(self._rows), number))

    async def keep(self) -> None:
        """Hand on what is committed, as it is; at the end tell everyone that it is one."""
        try:
            while True:
                await self._committed.wait()
                self._committed.clear()
                if self._listeners:
                    self._catch_up()
        except asyncio.CancelledError:
            for listener in tuple(self._listeners):
                listener.ended()
            raise

    async def keep_looking(self) -> None:
        """Hand on what looks otherwise, a few times in a second at most."""
        clock = self._core.clock
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            began_s = clock.monotonic()
            if self._listeners:
                self._look()
            await clock.sleep(max(LOOK_MIN_S, (clock.monotonic() - began_s) / LOOK_SHARE))

    def _heard(self) -> None:
        if self._listeners:  # whoever comes later catches up by itself
            self._committed.set()
            self._stirred.set()

    def _catch_up(self) -> None:
        """Take what is new in the audit, and hand it on."""
        if self._read_to is None:
            head = self._core.store.head()
            self._read_to = max(0, head.row - ROWS_MAX) if head else 0
        while rows := self._core.store.audit_since(self._read_to, limit=ROWS_MAX):
            self._read_to = rows[-1].id
            self._rows.extend(rows)
            for listener in tuple(self._listeners):
                for row in rows:
                    listener.row(row)

    def _look(self) -> None:
        fleet = self._fleet
        daemon = (fleet.state, fleet.sentence, fleet.problems, fleet.needs_person)
        if daemon != self._seen_daemon:
            self._seen_daemon = daemon
            self._tell(None, ())
        now: dict[str, Mapping[str, ServiceView]] = {
            name: here.views() for name, here in fleet.passes.items()
        }
        before, self._seen = self._seen, now
        for name in sorted(now.keys() | before.keys()):
            was, is_ = before.get(name, {}), now.get(name, {})
            changed = [one for one in sorted(was.keys() | is_.keys()) if was.get(one) != is_.get(one)]
            if changed:
                self._tell(name, changed)

    def _tell(self, environment: str | None, services: Collection[str]) -> None:
        for listener in tuple(self._listeners):
            listener.looks(environment, services)
