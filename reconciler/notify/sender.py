"""What a messenger is to the outbox, and how it says that it could not deliver."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from reconciler.model.errors import TransientError
from reconciler.model.notice import Notice


class Thread(NamedTuple):
    """Where the message of one upgrade stands, in the messenger's own terms."""

    channel: str
    ts: str


class Undelivered(TransientError):
    """Not sent, and to be tried again: after `retry_s`, or with backoff where that is None.

    `whole_channel`: nothing else would get through now either.
    """

    def __init__(
        self, message: str, remedy: str = "", *, retry_s: float | None = None, whole_channel: bool = False
    ) -> None:
        super().__init__(message, remedy)
        self.retry_s = retry_s
        self.whole_channel = whole_channel


class Sender(Protocol):
    """Both methods raise Undelivered, and may be called again with what was sent already."""

    async def show(self, notices: Sequence[Notice], thread: Thread | None) -> Thread:
        """Bring the one message of an upgrade up to the last of `notices`; post it if there is none."""

    async def tell(self, notice: Notice, thread: Thread | None) -> None:
        """Add one notice to the thread; without one it stands alone."""

    async def sum_up(self, notices: Sequence[Notice]) -> None:
        """Tell all of them in one message of its own."""


class Teller(ABC):
    """Where a message can neither be edited nor answered: one a transition, and one a call for help.

    The thread remembers the phase that was told last, so that details within a phase stay untold.
    """

    @abstractmethod
    async def say(self, notices: Sequence[Notice]) -> None:
        """Send them as one message, the newest as its headline. Raises Undelivered."""

    @abstractmethod
    async def sum_up(self, notices: Sequence[Notice]) -> None: ...

    async def show(self, notices: Sequence[Notice], thread: Thread | None) -> Thread:
        told = thread.ts if thread else None
        if notices[-1].phase != told or any(notice.severity == "person" for notice in notices):
            await self.say(notices)
        return Thread("-", notices[-1].phase)

    async def tell(self, notice: Notice, thread: Thread | None) -> None:
        if thread is None:
            await self.say([notice])
