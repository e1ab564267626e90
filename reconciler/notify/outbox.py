"""Delivery from the durable outbox: in order within a thread, at least once, retried for ever but slowly."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from reconciler.model import codec
from reconciler.model.digest import Digest
from reconciler.model.notice import Notice
from reconciler.notify.sender import Sender, Thread, Undelivered

BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 300.0
ROUND_ROWS_MAX = 100
DIGEST_ROWS_MAX = 1_000

NEVER = datetime.min.replace(tzinfo=UTC)

log = logging.getLogger(__name__)


class Row(Protocol):
    """One row that waits; `key` is the upgrade, or empty."""

    @property
    def id(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def payload(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def digest(self) -> bool: ...


class Rows(Protocol):
    """What the outbox needs of the database. `postpone` also holds back what waits under the same keys."""

    def due(self, channel: str, now: datetime, *, limit: int) -> Sequence[Row]: ...
    def next_due(self, channel: str) -> datetime | None: ...
    def delivered(self, ids: Sequence[int], *, error: str = "") -> None: ...
    def postpone(self, ids: Sequence[int], *, at: datetime, error: str) -> None: ...
    def gather(self, ids: Sequence[int], *, at: datetime) -> None: ...
    def noise(self, channel: str, since: datetime) -> int: ...
    def thread(self, operation: str, outbox: str) -> tuple[str, str] | None: ...
    def remember_thread(self, operation: str, outbox: str, channel: str, ts: str) -> None: ...


class Outbox:
    """Delivers the rows of one channel; one task at a time may do so. Without a sender they are just done."""

    def __init__(
        self,
        rows: Rows,
        sender: Sender | None,
        *,
        now: Callable[[], datetime],
        channel: str = "slack",
        digest: Digest | None = None,
    ) -> None:
        self._rows = rows
        self._sender = sender
        self._now = now
        self.channel = channel
        self._digest = digest
        self._held_until = NEVER
        self._said = ""

    async def deliver(self) -> datetime | None:
        """One round: send what is due. The answer is when to call again; None when nothing waits.

        Raises what the database raises, never what the messenger does.
        """
        if self._held_until <= self._now():
            await self._round(_threads(self._rows.due(self.channel, self._now(), limit=ROUND_ROWS_MAX)))
        waiting = self._rows.next_due(self.channel)
        return max(waiting, self._held_until) if waiting else None

    def let_go(self) -> None:
        """What the messenger asked to wait for is past, whatever the clock shows: it may be asked again."""
        self._held_until = NEVER

    async def _round(self, threads: list[list[Row]]) -> None:
        """What is urgent, or comes at a quiet time, is told now; the rest is gathered, and told together later."""
        if self._sender is None:  # nobody is told: in one go, however many there are
            self._rows.delivered([row.id for thread in threads for row in thread])
            return
        others = [thread for thread in threads if not any(row.digest for row in thread)]
        summed = len(others) < len(threads)
        if self._digest and others and self._gathers(self._digest):
            calm = [row.id for thread in others if not _urgent(thread) for row in thread]
            self._rows.gather(calm, at=self._digest.next_at(self._now()))
            others = [thread for thread in others if _urgent(thread)]
        for thread in others:
            if not await self._attempt(thread, self._send):
                return
        if summed:
            due = self._rows.due(self.channel, self._now(), limit=DIGEST_ROWS_MAX)
            await self._attempt([row for row in due if row.digest], self._sum_up)

    def _gathers(self, digest: Digest) -> bool:
        now = self._now()
        return digest.gathers(self._rows.noise(self.channel, digest.since(now)), now)

    async def _attempt(self, rows: list[Row], send: Callable[[list[Row]], Awaitable[None]]) -> bool:
        """False when the messenger takes nothing more for now."""
        try:
            await send(rows)
        except Undelivered as refusal:
            delay_s = backoff_s(rows[0].attempts) if refusal.retry_s is None else refusal.retry_s
            at = self._now() + timedelta(seconds=delay_s)
            self._rows.postpone([row.id for row in rows], at=at, error=str(refusal))
            if self._said != str(refusal):
                log.warning("%s: %s", self.channel, refusal)
                self._said = str(refusal)
            if refusal.whole_channel:
                self._held_until = at
            return not refusal.whole_channel
        self._said = ""
        return True

    async def _send(self, rows: list[Row]) -> None:
        """Send the rows of one thread, and take each off `rows` as soon as it is out."""
        notices = self._readable(rows)
        if self._sender is None or not notices:
            return
        operation, thread = rows[0].key, None
        if operation:
            known = self._rows.thread(operation, self.channel)
            thread = await self._sender.show(notices, Thread(*known) if known else None)
            if thread != known:
                self._rows.remember_thread(operation, self.channel, *thread)
        for notice in notices:
            await self._sender.tell(notice, thread)
            self._rows.delivered([rows[0].id])
            del rows[0]

    async def _sum_up(self, rows: list[Row]) -> None:
        """Send all the rows as one message, and bring those of their upgrades that are there up to date."""
        notices = self._readable(rows)
        if self._sender is None or not notices:
            return
        await self._sender.sum_up(notices)
        self._rows.delivered([row.id for row in rows])
        of = dict[str, list[Notice]]()
        for row, notice in zip(rows, notices, strict=True):
            if row.key:
                of.setdefault(row.key, []).append(notice)
        for operation, told in of.items():
            if known := self._rows.thread(operation, self.channel):
                try:
                    thread = await self._sender.show(told, Thread(*known))
                except Undelivered as refusal:  # it was told; the message follows with whatever comes next
                    log.info("%s: a message is behind: %s", self.channel, refusal)
                    return
                self._rows.remember_thread(operation, self.channel, *thread)

    def _readable(self, rows: list[Row]) -> list[Notice]:
        """The notices of the rows. A row that is none (from another UGS) is given up, and taken off."""
        notices = []
        for row in list(rows):
            try:
                notices.append(codec.decode(row.payload, Notice))
            except msgspec.MsgspecError as error:
                self._rows.delivered([row.id], error=f"not a notice: {error}")
                rows.remove(row)
        return notices


def backoff_s(attempts: int) -> float:
    """How long to wait after so many failed attempts: doubling, up to five minutes."""
    return min(BACKOFF_FIRST_S * 2.0 ** min(attempts, 20), BACKOFF_MAX_S)


def _urgent(thread: Iterable[Row]) -> bool:
    """Whether somebody should see any of it now; what cannot be read is looked at now, too."""
    try:
        return any(codec.decode(row.payload, Notice).urgent for row in thread)
    except msgspec.MsgspecError:
        return True


def _threads(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows by thread, each in order, the thread of the oldest row first; keyless rows stand alone."""
    threads: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        threads.setdefault((row.key, 0 if row.key else row.id), []).append(row)
    return list(threads.values())
