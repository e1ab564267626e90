"""Socket Mode against stand-ins for both of Slack's ends: the method that opens it, and the connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from reconciler.clock import SystemClock
from reconciler.notify import SlackWeb, SocketMode
from tests.notify.slack_server import Answer, SlackServer
from tests.notify.socket_server import SocketServer, socket_server


@pytest.fixture
async def socket(slack: SlackServer) -> AsyncIterator[SocketServer]:
    async with socket_server() as server:
        slack.socket_url = server.url
        yield server


@contextlib.asynccontextmanager
async def listening(slack: SlackServer) -> AsyncIterator[asyncio.Queue[object]]:
    """What is heard, as it comes."""
    heard = asyncio.Queue[object]()
    web = SlackWeb(slack.app_token, api=slack.api)
    task = asyncio.create_task(SocketMode(web, SystemClock(), retry_max_s=0.05).listen(heard.put))
    try:
        yield heard
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_what_is_pressed_is_acknowledged_and_handed_over(
    slack: SlackServer, socket: SocketServer
) -> None:
    async with asyncio.timeout(30), listening(slack) as heard:
        await socket.until_connected()
        await socket.interact({"type": "block_actions"})
        assert await heard.get() == {"type": "block_actions"}
        await socket.until_acknowledged(1)
        assert socket.acknowledged == ["e1"]


async def test_what_is_no_interaction_is_acknowledged_and_left_alone(
    slack: SlackServer, socket: SocketServer
) -> None:
    async with asyncio.timeout(30), listening(slack) as heard:
        await socket.until_connected()
        await socket.send("no JSON")
        await socket.send("[" * 5000)
        await socket.send('{"type": "events_api", "envelope_id": "other", "payload": {}}')
        await socket.interact({"n": 1})
        assert await heard.get() == {"n": 1}
        await socket.until_acknowledged(2)
        assert socket.acknowledged == ["other", "e1"]


@pytest.mark.fault("NT-01")
@pytest.mark.parametrize("way", ["disconnect", "hang_up"])
async def test_a_connection_that_ends_is_made_again(
    slack: SlackServer, socket: SocketServer, way: str
) -> None:
    async with asyncio.timeout(30), listening(slack) as heard:
        await socket.until_connected()
        await getattr(socket, way)()
        await socket.until_connected(2)
        await socket.interact({"n": 1})
        assert await heard.get() == {"n": 1}


@pytest.mark.fault("NT-01")
async def test_what_slack_answers_is_said_once_without_the_token_and_tried_again(
    slack: SlackServer, socket: SocketServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    slack.answer_next(Answer(503, "busy"), times=2)
    slack.answer_next(Answer(200, '{"ok": true, "url": "http://elsewhere.example"}'))
    async with asyncio.timeout(30), listening(slack):
        await socket.until_connected()
    said = [record.message for record in caplog.records if record.name == "ugs"]
    assert said[0] == "buttons are not heard: Slack answered 503"
    assert said[1].startswith("buttons are not heard: what answers 200 is not Slack")
    assert len(said) == 2
    assert "secret" not in caplog.text


async def test_a_place_where_nobody_answers_is_trouble_that_passes(
    slack: SlackServer, socket: SocketServer, caplog: pytest.LogCaptureFixture
) -> None:
    slack.socket_url = "ws://127.0.0.1:1/link"
    async with asyncio.timeout(30), listening(slack):
        while "Slack cannot be reached" not in caplog.text:  # noqa: ASYNC110  nothing tells of a line in the log
            await asyncio.sleep(0.01)
        slack.socket_url = socket.url
        await socket.until_connected()
