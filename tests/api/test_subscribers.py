"""Many subscribers in one process: the limit, slow clients, heartbeats, and what one event costs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from reconciler.api import application, events
from reconciler.engine.daemon import Daemon
from reconciler.engine.news import ROWS_MAX, News
from reconciler.model.rights import Caller, RoleGrant
from tests.world import World, a_world

ANN = Caller("ann", (RoleGrant("viewer"),))
TOGETHER_S = 0.25
"""What 200 may take on a busy machine; alone it takes about a hundredth of a second."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


@pytest.fixture
async def daemon(world: World) -> AsyncIterator[Daemon]:
    """One that only listens: nothing is fetched or passed."""
    made = Daemon(world.core)
    keeping = [asyncio.create_task(work()) for work in (made.news.keep, made.news.keep_looking)]
    yield made
    for task in keeping:
        task.cancel()
    await asyncio.gather(*keeping, return_exceptions=True)


class Client:
    """An ASGI client that reads as fast as it is told to."""

    def __init__(self, daemon: Daemon, caller: Caller = ANN) -> None:
        async def doorkeeper(_request: Request) -> Caller:
            return caller

        self.application = application(daemon, doorkeeper)
        self.status = 0
        self.heard = b""
        self.reads = asyncio.Event()
        self.reads.set()
        self.gone = asyncio.Event()
        self.news = asyncio.Event()

    async def run(self) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "GET",
            "path": "/events",
            "query_string": b"",
            "headers": [],
            "client": ("192.0.2.1", 1),
        }
        await self.application(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.heard += message.get("body", b"")
        self.news.set()
        await self.reads.wait()

    async def until(self, text: bytes, after: int = 0) -> None:
        async with asyncio.timeout(30):
            while text not in self.heard[after:]:
                self.news.clear()
                await self.news.wait()


async def test_an_event_reaches_two_hundred_at_little_cost(daemon: Daemon) -> None:
    clients = [Client(daemon) for _ in range(200)]
    running = [asyncio.create_task(client.run()) for client in clients]
    for client in clients:
        await client.until(b"event: ready")
    began_s = time.perf_counter()
    daemon.core.store.audit("accepted", detail="abc")
    for client in clients:
        await client.until(b'"event":"accepted"')
    assert time.perf_counter() - began_s < TOGETHER_S
    for client in clients:
        client.gone.set()
    await asyncio.gather(*running)
    assert daemon.news.listening == 0


async def test_one_too_many_is_asked_to_come_again(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SUBSCRIBERS_MAX", 1)
    first, second = Client(daemon), Client(daemon)
    running = asyncio.create_task(first.run())
    await first.until(b"event: ready")
    await second.run()
    assert second.status == 503
    assert "others listen" in json.loads(second.heard)["detail"]
    first.gone.set()
    await running
    third = Client(daemon)
    running = asyncio.create_task(third.run())
    await third.until(b"event: ready")
    third.gone.set()
    await running


async def test_a_client_that_does_not_read_is_cut_off_and_delays_nobody(daemon: Daemon) -> None:
    slow, quick = Client(daemon), Client(daemon)
    slow.reads.clear()
    running = [asyncio.create_task(client.run()) for client in (slow, quick)]
    await quick.until(b"event: ready")
    for number in range(events.QUEUE_MAX + 10):
        daemon.core.store.audit("accepted", detail=f"row-{number}.")
        await quick.until(f"row-{number}.".encode())
    slow.reads.set()
    await running[0]  # it has had its end
    assert b"row-0." in slow.heard
    assert f"row-{events.QUEUE_MAX + 9}.".encode() not in slow.heard
    quick.gone.set()
    await running[1]


async def test_what_is_quiet_shows_that_it_is_still_there(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "STANDING_S", 0.01)
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.02)
    client = Client(daemon)
    running = asyncio.create_task(client.run())
    await client.until(b": still here")
    assert client.heard.startswith(b"retry: 2000\n\n")
    client.gone.set()
    await running


async def test_many_events_at_once_leave_together_and_the_end_comes_last(daemon: Daemon) -> None:
    client = Client(daemon)
    running = asyncio.create_task(client.run())
    await client.until(b"event: ready")
    for number in range(5):
        daemon.core.store.audit("accepted", detail=f"row-{number}.")
    await client.until(b"row-4.")
    listener = daemon.news._listeners[0]
    daemon.core.store.audit("accepted", detail="the last")
    daemon.news.newest  # noqa: B018  # takes what is new
    listener.ended()
    await running
    assert b"the last" in client.heard


async def test_only_the_newest_rows_are_kept_at_hand(world: World) -> None:
    store = world.core.store
    with store.transaction():
        for _ in range(ROWS_MAX + 5):
            store.audit("accepted")
    news = News(world.fleet)
    newest = news.newest
    assert [row.id for row in news.since(newest - 3) or []] == [newest - 2, newest - 1, newest]
    assert len(news.since(newest - ROWS_MAX) or []) == ROWS_MAX
    assert news.since(newest - ROWS_MAX - 1) is None
    assert news.since(newest + 1) is None
    assert news.since(newest) == []
