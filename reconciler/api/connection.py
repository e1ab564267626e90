"""One connection of a client, and for how long it may keep us waiting: who is slow takes nothing from the others."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
"""Within this a request's head is there, from its first byte to its last, or from when the connection was made."""
BODY_S = 35.0
"""Within this its body is, whoever reads it; the routes are less patient, and say so."""
READ_S = 30.0
"""For so long a client may leave what it is sent unread."""
CONNECTIONS_MAX = 1_000
HEAD_BYTES_MAX = 16 << 10
CREDENTIALS = struct.Struct("3i")  # of SO_PEERCRED: process, user, group


class Patient(H11Protocol):
    """With limits. At the most connections, the one that has waited longest for its client makes room."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._awaited: object = None
        self._due: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > CONNECTIONS_MAX:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._due, self._stalled):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(READ_S, self._abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def _watch(self) -> None:
        """Start the clock anew only when something else is waited for: a byte now and then buys no time."""
        if (awaited := self.conn.their_state) is self._awaited:
            return
        self._awaited = awaited
        if self._due is not None:
            self._due.cancel()
        limits = {h11.IDLE: HEAD_S, h11.SEND_BODY: BODY_S}
        self._due = self.loop.call_later(limits[awaited], self._abort) if awaited in limits else None

    def _make_room(self) -> None:
        waiting = (one for one in self.connections if isinstance(one, Patient) and one is not self)
        idle = [one for one in waiting if one._due is not None]
        if oldest := min(idle, key=lambda one: one._due.when() if one._due else 0.0, default=None):
            oldest._abort()
        else:
            self._abort()

    def _abort(self) -> None:
        # It leaves the connections only when the loop comes by: until then it is nobody's room any more.
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self.transport.abort()


class Local(Patient):
    """Each request over the socket says in its state which user the kernel says is at the other end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        channel = transport.get_extra_info("socket")
        data = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        _, user, _ = CREDENTIALS.unpack(data)
        self.app_state = {**self.app_state, "peer_uid": user}
