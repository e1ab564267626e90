"""Slack's end of Socket Mode, on this machine: it sends what a test says, and keeps what is acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import WSMsgType, web

WAIT_S = 30.0


class SocketServer:
    """`acknowledged`: the ids of envelopes in the order in which they were. `connections`: how many there have been."""

    def __init__(self) -> None:
        self.url = ""
        self.acknowledged: list[str] = []
        self.connections = 0
        self._sockets: list[web.WebSocketResponse] = []
        self._number = 0
        self._changed = asyncio.Condition()

    async def until_connected(self, number: int = 1) -> None:
        await self._until(lambda: self.connections >= number)

    async def until_acknowledged(self, number: int) -> None:
        await self._until(lambda: len(self.acknowledged) >= number)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(condition)

    async def _change(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def send(self, text: str) -> None:
        await self._sockets[-1].send_str(text)

    async def interact(self, payload: dict[str, Any]) -> None:
        """Send an interaction in an envelope of its own."""
        self._number += 1
        envelope = {"type": "interactive", "envelope_id": f"e{self._number}", "payload": payload}
        await self.send(json.dumps(envelope))

    async def disconnect(self) -> None:
        """As Slack does now and then."""
        await self.send('{"type": "disconnect", "reason": "refresh_requested"}')

    async def hang_up(self) -> None:
        await self._sockets[-1].close()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.append(socket)
        await socket.send_str('{"type": "hello", "num_connections": 1}')
        self.connections += 1
        await self._change()
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                self.acknowledged.append(json.loads(message.data)["envelope_id"])
                await self._change()
        return socket


@contextlib.asynccontextmanager
async def socket_server() -> AsyncIterator[SocketServer]:
    server, application = SocketServer(), web.Application()
    application.router.add_get("/link", server.serve)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        server.url = f"ws://127.0.0.1:{port}/link?ticket=the-secret-ticket"
        yield server
    finally:
        await runner.cleanup()
