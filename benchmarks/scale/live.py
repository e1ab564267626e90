"""How soon 200 live subscribers hear of a change: real daemon, real HTTP, the change a hold that somebody puts."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from datetime import datetime
from functools import partial
from pathlib import Path

import aiohttp

from benchmarks import load
from benchmarks.scale.row import Row
from tests.drivers.services import free_port

SUBSCRIBERS = 200
ROUNDS = 15
WAIT_S = 30.0
HELD = b'"event":"held"'


class Ear(asyncio.Protocol):
    """One open stream, read by the byte: what reading costs here is not to be measured."""

    def __init__(self, request: bytes, heard: asyncio.Queue[tuple[float, bytes]]) -> None:
        self._request, self._heard, self.open = request, heard, asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if b"event: ready" in data:
            self.open.set()
        if HELD in data:
            self._heard.put_nowait((time.time(), data))


def rows(folder: Path) -> list[Row]:
    port = free_port()
    with load.a_daemon(folder, port) as (_pid, tokens):
        ours = asyncio.run(_heard(port, tokens))
    floor = asyncio.run(_bare())
    what = f"a change committed → the last of {SUBSCRIBERS} live subscribers has it"
    return [Row(what, "ms", statistics.median(ours), bound=20.0, floor=statistics.median(floor))]


def _same(ear: Ear) -> Ear:
    return ear


async def _subscribed(port: int, tokens: list[str]) -> asyncio.Queue[tuple[float, bytes]]:
    heard = asyncio.Queue[tuple[float, bytes]]()
    loop = asyncio.get_running_loop()
    for number in range(SUBSCRIBERS):
        bearer = f"Authorization: Bearer {tokens[number % len(tokens)]}"
        head = f"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n{bearer}\r\n\r\n"
        ear = Ear(head.encode(), heard)
        await loop.create_connection(partial(_same, ear), "127.0.0.1", port)
        await asyncio.wait_for(ear.open.wait(), WAIT_S)
    return heard


async def _heard(port: int, tokens: list[str]) -> list[float]:
    """Milliseconds from the time that the audit has of a change to the last subscriber's bytes."""
    heard, took = await _subscribed(port, tokens), []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        for number in range(ROUNDS):
            body = {"environment": "e0", "service": f"s{number * 4:03}", "reason": "bench", "for": "1h"}
            head = {"Authorization": f"Bearer {tokens[0]}"}
            async with session.post("/holds", json=body, headers=head) as answer:
                assert answer.status < 300, await answer.text()
            last = [await asyncio.wait_for(heard.get(), WAIT_S) for _ in range(SUBSCRIBERS)]
            line = next(
                line for line in last[0][1].split(b"\n") if line.startswith(b"data: ") and HELD in line
            )
            at = datetime.fromisoformat(json.loads(line[6:])["at"]).timestamp()
            took.append((max(when for when, _ in last) - at) * 1000)
            await asyncio.sleep(0.3)
    return took


async def _bare() -> list[float]:
    """The floor: as many bytes written to as many sockets, in one process, by nothing but asyncio."""
    writers, took = list[asyncio.StreamWriter](), []
    heard = asyncio.Queue[tuple[float, bytes]]()

    all_in = asyncio.Event()

    async def joined(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if len(writers) == SUBSCRIBERS:
            all_in.set()

    server = await asyncio.start_server(joined, "127.0.0.1", 0)
    port, loop = server.sockets[0].getsockname()[1], asyncio.get_running_loop()
    for _ in range(SUBSCRIBERS):
        await loop.create_connection(lambda: Ear(b"", heard), "127.0.0.1", port)
    await all_in.wait()
    event = b'event: change\ndata: {"event":"held"' + b"x" * 400 + b"}\n\n"
    for _ in range(ROUNDS):
        began_s = time.time()
        for writer in writers:
            writer.write(event)
        last = [await asyncio.wait_for(heard.get(), WAIT_S) for _ in range(SUBSCRIBERS)]
        took.append((max(when for when, _ in last) - began_s) * 1000)
    server.close()
    return took
