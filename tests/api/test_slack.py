"""The route for what Slack signs: its own requests get in, each once; nobody else's do."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlencode

import pytest

from reconciler.api import application, by_token, serve
from reconciler.cli.channels import hearing
from reconciler.engine.daemon import Daemon
from tests.api.network import Reply, call
from tests.drivers.services import free_port
from tests.notify.slack_server import SlackServer
from tests.world import World, patiently

SECRET = "the-signing-secret"
PATH = "/slack/interactivity"


class Slack:
    """The stand-in, and requests as Slack makes them."""

    def __init__(self, world: World, server: SlackServer, port: int) -> None:
        self.world, self.server, self.port = world, server, port

    def headers(self, body: bytes, *, secret: str = SECRET, late_s: int = 0) -> dict[str, str]:
        stamp = str(int(self.world.clock.now().timestamp()) - late_s)
        signed = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
        return {
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={signed}",
            "Content-Type": "application/x-www-form-urlencoded",
        }

    async def ask(self, body: bytes, headers: dict[str, str]) -> Reply:
        return await asyncio.to_thread(call, self.port, "POST", PATH, body, headers=headers)

    async def press(self, label: str, user: str) -> tuple[bytes, dict[str, str]]:
        payload = self.server.press(self.server.messages[-1], label, user)
        body = urlencode({"payload": json.dumps(payload)}).encode()
        return body, self.headers(body)


async def listening(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def slack(world: World) -> AsyncIterator[Slack]:
    port = free_port()
    with SlackServer() as server:
        (world.folder / "slack-token").write_text(server.token)
        (world.folder / "signing").write_text(SECRET)
        world.more = "policy: {approvals: {initial: 1}}\n"
        world.settings_more = (
            f'listen: "127.0.0.1:{port}"\nnotify:\n  slack:\n'
            f'    token: {{file: slack-token}}\n    channel: "{server.channel}"\n    api: "{server.api}"\n'
            "    signing_secret: {file: signing}\n"
            "    people: {ada@example.org: {id: U0ADA, grants: [{role: approver}]}}\n"
        )
        patiently(world, "1.0.0")
        await world.settle()
        await world.deliver()
        daemon = cast(Daemon, SimpleNamespace(core=world.core, fleet=world.fleet, nudge=lambda: None))
        companions, routes = hearing(daemon, world.core.settings)
        assert companions == []
        app = application(daemon, by_token(world.core), routes)
        serving = asyncio.create_task(serve(app, ("127.0.0.1", port)))
        try:
            await listening(port)
            yield Slack(world, server, port)
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving
        assert server.violations == []


async def test_what_slack_signs_is_done(world: World, slack: Slack) -> None:
    reply = await slack.ask(*await slack.press("Approve", "U0ADA"))
    assert (reply.status, reply.body) == (200, b"")
    await world.eventually(lambda: slack.server.whispers)
    assert slack.server.whispers == [("U0ADA", "production: api is approved by you")]
    await world.settle()
    assert world.answers() == "1.0.0"


@pytest.mark.fault("NT-05")
async def test_what_was_here_before_counts_no_more(world: World, slack: Slack) -> None:
    body, headers = await slack.press("Approve", "U0ADA")
    replies = [await slack.ask(body, headers) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 401, 401]
    assert replies[1].body["detail"] == "this was here before"
    assert len(world.core.store.permits("production").approvals) == 1


@pytest.mark.fault("NT-05")
@pytest.mark.parametrize(
    "change",
    [
        {"X-Slack-Signature": ""},
        {"X-Slack-Signature": "v0=00"},
        {"X-Slack-Signature": "v0=\xe4"},
        {"X-Slack-Request-Timestamp": ""},
        {"X-Slack-Request-Timestamp": "soon"},
        {"X-Slack-Request-Timestamp": "9" * 30},
        {"X-Slack-Request-Timestamp": "-1"},
    ],
    ids=str,
)
async def test_what_slack_has_not_signed_is_turned_away_and_audited(
    world: World, slack: Slack, change: dict[str, str]
) -> None:
    body, headers = await slack.press("Approve", "U0ADA")
    reply = await slack.ask(body, headers | change)
    assert (reply.status, reply.body["detail"].startswith("this is not signed by Slack")) == (401, True)
    assert world.core.store.permits("production").approvals == ()
    assert [row.event for row in world.core.store.audit_rows(limit=1)] == ["denied"]


@pytest.mark.fault("NT-05")
async def test_an_old_or_changed_request_and_one_of_another_app_are_turned_away(
    world: World, slack: Slack
) -> None:
    body, headers = await slack.press("Approve", "U0ADA")
    for changed, signed in (
        (body, slack.headers(body, late_s=301)),
        (body, slack.headers(body, late_s=-400)),
        (body, slack.headers(body, secret="another")),
        (body + b"&x=1", headers),
    ):
        assert (await slack.ask(changed, signed)).status == 401
    assert world.core.store.permits("production").approvals == ()


@pytest.mark.fault("NT-05")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"payload=no-json", 400),
        (b"payload=%5B" * 3, 400),
        (b"payload=" + b"%5B" * 50_000, 400),
        (b"other=1", 400),
        (b"\xff", 401),
        (b"payload=%7B%7D", 200),
        (b"payload=" + b"x" * 300_000, 413),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_odd_bodies_break_nothing(slack: Slack, body: bytes, status: int) -> None:
    assert (await slack.ask(body, slack.headers(body))).status == status


async def test_nobody_gets_there_by_another_method(slack: Slack) -> None:
    reply = await asyncio.to_thread(call, slack.port, "GET", PATH)
    assert reply.status == 405
    reply = cast(Any, await slack.ask(b"payload=%7B%7D", {}))
    assert reply.status == 401
