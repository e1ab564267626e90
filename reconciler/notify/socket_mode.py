"""Slack's Socket Mode: what is pressed comes through a connection that this daemon opens, so that no port has to be.

slack-sdk's own client asks again every five seconds for ever, whatever Slack answers, and keeps what it hears in a
queue without a bound; this one backs off, and leaves the pace to whoever listens.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct

from reconciler.clock import Clock
from reconciler.model import codec
from reconciler.notify.outbox import BACKOFF_MAX_S, backoff_s
from reconciler.notify.sender import Undelivered
from reconciler.notify.slack_web import REQUEST_TIMEOUT_S, SlackWeb, unreachable, unreadable

log = logging.getLogger("ugs")
MESSAGE_BYTES_MAX = 1 << 20
HEARTBEAT_S = 30.0
STEADY_S = 60.0
"""A connection that lasted so long was a good one: the next is tried at once."""

Hear = Callable[[object], Awaitable[None]]


class _Envelope(Struct):
    type: str
    envelope_id: str = ""
    payload: Any = None


class SocketMode:
    """`web` bears the app-level token. `retry_max_s`: the longest wait between two attempts to connect. `tell`: is
    told why nothing is heard, and nothing since it is."""

    def __init__(
        self,
        web: SlackWeb,
        clock: Clock,
        *,
        retry_max_s: float = BACKOFF_MAX_S,
        tell: Callable[[str], None] = lambda _why: None,
    ) -> None:
        self._web = web
        self._clock = clock
        self._retry_max_s = retry_max_s
        self._tell = tell

    async def listen(self, hear: Hear) -> None:
        """Hand over every interaction, for ever. Each is acknowledged first: Slack waits for three seconds."""
        attempts, said = 0, ""
        while True:
            since_s = self._clock.monotonic()
            try:
                await self._connected(hear)
                wait_s, said = 0.0, ""
            except Undelivered as error:
                self._tell(str(error))
                wait_s = backoff_s(attempts) if error.retry_s is None else error.retry_s
                if str(error) != said:
                    log.warning("buttons are not heard: %s", error)
                    said = str(error)
            attempts = 0 if self._clock.monotonic() - since_s > STEADY_S else attempts + 1
            # Even one that Slack itself has closed, so that it cannot make us turn in a circle.
            await self._clock.sleep(
                min(max(wait_s, 0.0 if attempts == 0 else backoff_s(attempts - 1)), self._retry_max_s)
            )

    async def _connected(self, hear: Hear) -> None:
        """One connection, until Slack asks for another. Raises Undelivered."""
        import aiohttp

        url = (await self._web.call("apps.connections.open", {})).get("url")
        if not isinstance(url, str) or not url.startswith(("wss://", "ws://127.0.0.1:")):
            raise unreadable()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.ws_connect(url, heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_BYTES_MAX) as socket,
            ):
                self._tell("")
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        continue
                    envelope = _read(message.data)
                    if envelope is None:
                        continue
                    if envelope.envelope_id:
                        await socket.send_str(json.dumps({"envelope_id": envelope.envelope_id}))
                    if envelope.type == "disconnect":
                        return
                    if envelope.type == "interactive":
                        await hear(envelope.payload)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise unreachable(error) from None


def _read(text: str) -> _Envelope | None:
    try:
        return codec.decode(text, _Envelope)
    except (msgspec.MsgspecError, RecursionError):
        return None


codec.resolve_types(_Envelope)
