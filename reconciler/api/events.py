"""`GET /events`: what changes, as server-sent events, to each caller what he may see of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from reconciler.api.endpoint import Endpoint, Where
from reconciler.engine.daemon import Daemon
from reconciler.engine.news import ROWS_MAX
from reconciler.model.codec import builtins
from reconciler.model.errors import TransientError
from reconciler.model.rights import EVERYTHING, Caller, Place, may, sees_part_of
from reconciler.store import AuditRow

SUBSCRIBERS_MAX = 500
QUEUE_MAX = 256
"""Who has fallen so many events behind is cut off, and asks again from where he was."""
HEARTBEAT_S = 15.0
STANDING_S = 1.0
"""How soon a caller who is let in no longer is noticed."""
RETRY_MS = 2_000
NUMBER_MAX = 2**53
MEDIA = "text/event-stream"
NAMED_MAX = 100
"""A `status` event names so many services; of more it says that it may be any."""
ADMINISTRATION = ("denied", "token-", "signed-")
"""Events that tell of people: for those who administer everything."""
ENDING = frozenset({"token-revoked", "signed-out"})
"""After these, somebody may be let in no longer."""
HEADERS = {"X-Accel-Buffering": "no"}
"""A proxy is not to gather events before it passes them on."""


class Wanted(Where, frozen=True, forbid_unknown_fields=True):
    """`seen`: the number of the last event that the client had; None: it has just come."""

    seen: Annotated[int, Meta(ge=0, le=NUMBER_MAX)] | None = None


def row_seen(caller: Caller, row: AuditRow) -> bool:
    """Whether the caller may see this row of the audit."""
    if row.event.startswith(ADMINISTRATION):
        return may(caller, "administer", EVERYTHING)
    if row.environment and row.service:
        return sees_part_of(caller, Place(row.environment, row.service))
    return may(caller, "see", Place(row.environment or None))


@lru_cache(maxsize=ROWS_MAX)
def told(row: AuditRow) -> bytes:
    """One row of the audit as an event; made once for all who get it."""
    data = builtins(row)
    del data["previous_hash"], data["hash"]
    return _event("change", data, number=row.id)


def _event(name: str, data: object, *, number: int | None = None) -> bytes:
    # JSON has no line breaks of its own, so that one `data:` line holds it whole.
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"


class Subscriber:
    """One open stream. What is to be sent waits in a queue with a bound."""

    def __init__(self, daemon: Daemon, wanted: Wanted, caller: Caller) -> None:
        self._daemon, self._wanted, self._caller = daemon, wanted, caller
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_MAX + 1)  # one place is for the end
        self._over = False

    def row(self, row: AuditRow) -> None:
        if row.event in ENDING:
            self._check()
        here = self._wanted.environment
        if (here is None or row.environment == here) and row_seen(self._caller, row):
            self._put(told(row))

    def looks(self, environment: str | None, services: Collection[str]) -> None:
        if environment is None:
            if may(self._caller, "see", EVERYTHING) and self._wanted.environment is None:
                self._put(_event("status", {"environment": None, "services": None}))
            return
        if self._wanted.environment not in (None, environment):
            return
        if not may(self._caller, "see", Place(environment)):
            services = [one for one in services if sees_part_of(self._caller, Place(environment, one))]
        if services:
            named = list(services) if len(services) <= NAMED_MAX else None
            self._put(_event("status", {"environment": environment, "services": named}))

    def ended(self) -> None:
        if not self._over:
            self._over = True
            self._queue.put_nowait(None)

    def open(self) -> None:
        """Begin with what the client has missed. Said at the moment from which it hears."""
        self._queue.put_nowait(f"retry: {RETRY_MS}\n\n".encode() + self._missed())

    async def stream(self) -> AsyncIterator[bytes]:
        """Everything that was put in, on and on until one of both ends it."""
        quiet_s = 0.0
        while True:
            try:
                async with asyncio.timeout(STANDING_S):
                    event = await self._queue.get()
            except TimeoutError:
                self._check()
                quiet_s += STANDING_S
                if quiet_s >= HEARTBEAT_S:
                    quiet_s = 0.0
                    yield b": still here\n\n"
                continue
            if event is None:
                return
            quiet_s = 0.0
            yield b"".join((event, *self._waiting()))

    def _waiting(self) -> list[bytes]:
        """What else is in the queue already, up to the end where that is among it."""
        found: list[bytes] = []
        with suppress(asyncio.QueueEmpty):
            while (event := self._queue.get_nowait()) is not None:
                found.append(event)
            self._queue.put_nowait(None)
        return found

    def _missed(self) -> bytes:
        """What came since the client was here last; without that, where the stream begins."""
        news, seen = self._daemon.news, self._wanted.seen
        newest = news.newest
        if seen is None:
            return _event("ready", {"newest": newest}, number=newest)
        missed = news.since(seen)
        if missed is None:
            why = f"more than {ROWS_MAX} changes came since, or the database is another; read the status anew"
            return _event("reset", {"newest": newest, "reason": why}, number=newest)
        here = self._wanted.environment
        rows = [row for row in missed if here in (None, row.environment) and row_seen(self._caller, row)]
        return b"".join([*map(told, rows), _event("ready", {"newest": newest}, number=newest)])

    def _check(self) -> None:
        """End the stream of a caller who is let in no longer."""
        if not stands(self._daemon, self._caller):
            self.ended()

    def _put(self, event: bytes) -> None:
        if self._over:
            return
        if self._queue.qsize() >= QUEUE_MAX:
            self.ended()  # where he reads nothing at all, the connection's own limit ends it
            return
        self._queue.put_nowait(event)


def stands(daemon: Daemon, caller: Caller) -> bool:
    """Whether what let a caller in still would."""
    core = daemon.core
    in_time = caller.until is None or core.clock.now() < caller.until
    by_token = caller.token is None or core.store.token_stands(caller.token)
    return in_time and by_token and (caller.session is None or core.store.session_stands(caller.session))


class _Stream(StreamingResponse):
    """Whatever ends it, the subscriber leaves."""

    def __init__(self, daemon: Daemon, subscriber: Subscriber) -> None:
        super().__init__(subscriber.stream(), media_type=MEDIA, headers=HEADERS)
        self._news, self._subscriber = daemon.news, subscriber

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._news.listen(self._subscriber)
        self._subscriber.open()
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._news.leave(self._subscriber)


async def _events(daemon: Daemon, wanted: Wanted, caller: Caller) -> object:
    if daemon.news.listening >= SUBSCRIBERS_MAX:
        raise TransientError(
            f"{SUBSCRIBERS_MAX} others listen already", "try again in a moment, or ask for the status instead"
        )
    return _Stream(daemon, Subscriber(daemon, wanted, caller))


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "GET",
        "/events",
        "What changes, as it does.",
        "see",
        Wanted,
        _events,
        part=True,
        headers={"seen": "last-event-id"},
        answers=str,
        media=MEDIA,
    ),
)
