"""Clients that take their time: they are cut off, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from reconciler.api import connection, serve
from tests.drivers.services import free_port

SLOW = 200


async def hello(_request: Request) -> Response:
    return PlainTextResponse("hello")


async def large(_request: Request) -> Response:
    return PlainTextResponse("x" * (32 << 20))


async def swallow(request: Request) -> Response:
    with suppress(ClientDisconnect):
        await request.body()
    return PlainTextResponse("swallowed")


APPLICATION = Starlette(
    routes=[Route("/", hello), Route("/large", large), Route("/body", swallow, methods=["POST"])]
)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[int]:
    port = free_port()
    task = asyncio.create_task(serve(APPLICATION, ("127.0.0.1", port)))
    try:
        async with asyncio.timeout(30):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.01)
        yield port
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def gone(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends the connection."""
    try:
        async with asyncio.timeout(30):
            await reader.read()
    except ConnectionResetError:
        return True
    return True


async def answered_s(port: int) -> float:
    """How long a whole request takes."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"hello" in await reader.read()
    writer.close()
    return time.perf_counter() - began


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_S", "BODY_S", "READ_S"):
        monkeypatch.setattr(connection, name, 0.5)


async def dripping(writer: asyncio.StreamWriter, head: bytes) -> None:
    """A byte now and then, for as long as the server takes it."""
    with suppress(ConnectionError):
        writer.write(head)
        while not writer.is_closing():
            await asyncio.sleep(0.05)
            writer.write(b"x")
            await writer.drain()


@pytest.mark.fault("AP-05")
@pytest.mark.parametrize(
    "head",
    [b"", b"GET / HTTP/1.1\r\nHost: ", b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"],
    ids=["nothing", "head", "body"],
)
async def test_whoever_drips_is_cut_off(head: bytes) -> None:
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        drips = asyncio.create_task(dripping(writer, head)) if head else None
        assert await gone(reader)
        writer.close()
        if drips:
            drips.cancel()
            with suppress(asyncio.CancelledError):
                await drips
        assert await answered_s(port) < 5


async def test_whoever_reads_nothing_is_cut_off() -> None:
    async with serving() as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(2)  # longer than it may: nothing can be waited for that is not read
            client.setblocking(False)
            loop, got = asyncio.get_running_loop(), 0
            with suppress(ConnectionResetError):
                while data := await loop.sock_recv(client, 1 << 20):
                    got += len(data)
            assert got < 32 << 20


async def test_a_quick_client_keeps_its_connection() -> None:
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(20):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await reader.readuntil(b"hello")
            await asyncio.sleep(0.05)  # altogether longer than any one request may take
        writer.close()


@pytest.mark.fault("AP-05")
async def test_two_hundred_slow_clients_keep_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 60)
    async with serving() as port:
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(SLOW)]
        for _, writer in slow:
            writer.write(b"GET / HTTP/1.1\r\nHost: ")
        took = [await answered_s(port) for _ in range(20)]
        for _, writer in slow:
            writer.close()
    assert statistics.median(took) < 0.1


async def test_at_the_most_connections_the_idlest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 60)
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 5)
    async with serving() as port:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        assert await answered_s(port) < 5
        assert await gone(idle[0][0])
        for _, writer in idle:
            writer.close()


async def test_of_many_that_come_at_once_each_too_many_makes_room_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 60)
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 5)
    async with serving() as port:
        await asyncio.sleep(0)
        # Without waiting in between: one turn of the loop finds all of them.
        clients = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(12)]
        for client in clients:
            client.setblocking(False)

        def is_gone(client: socket.socket) -> bool:
            try:
                return client.recv(1) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        for _ in range(3_000):
            if sum(map(is_gone, clients)) >= 7:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # no more than that
        assert [is_gone(client) for client in clients] == [True] * 7 + [False] * 5
        for client in clients:
            client.close()
