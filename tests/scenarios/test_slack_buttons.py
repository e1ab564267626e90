"""People act from Slack's messages: what a button does, for whom, and what it refuses. Slack is a stand-in server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.api.desk import Desk
from reconciler.cli.channels import callers_of, hearing
from reconciler.engine.attention import needs_person
from reconciler.engine.daemon import Daemon
from reconciler.model.upgrade import Phase
from reconciler.notify import SlackWeb
from tests.notify.slack_people import labels, submitted
from tests.notify.slack_server import Posted, SlackServer
from tests.notify.socket_server import socket_server
from tests.world import World, patiently

pytestmark = pytest.mark.slow

ADA, EVE, BOB, MALLORY = "U0ADA", "U0EVE", "U0BOB", "U0MALLORY"
PEOPLE = f"""\
    people:
      ada@example.org: {{id: {ADA}, grants: [{{role: approver}}, {{role: operator}}]}}
      eve@example.org: {{id: {EVE}, grants: [{{role: approver, environments: [prod*], services: [api]}}]}}
      bob@example.org: {{id: {BOB}, grants: [{{role: viewer}}]}}
"""
APPROVALS = "policy: {approvals: {major: 2}}\n"


@pytest.fixture
def slack(world: World) -> Iterator[SlackServer]:
    with SlackServer() as server:
        (world.folder / "slack-token").write_text(server.token)
        (world.folder / "app-token").write_text(server.app_token)
        world.settings_more = (
            "notify:\n  slack:\n"
            f'    token: {{file: slack-token}}\n    channel: "{server.channel}"\n    api: "{server.api}"\n'
            f"    app_token: {{file: app-token}}\n{PEOPLE}"
        )
        yield server
        assert server.violations == []


class Desktop:
    """What people see and do, and the desk that hears it."""

    def __init__(self, world: World, slack: SlackServer) -> None:
        self.world, self.slack = world, slack
        self.daemon = cast(Daemon, SimpleNamespace(core=world.core, fleet=world.fleet))
        self.desk = Desk(self.daemon, SlackWeb(slack.token, api=slack.api), callers_of(world.core.settings))

    async def message(self) -> Posted:
        """The newest message, with all that is to be told told."""
        await self.world.deliver()
        return self.slack.messages[-1]

    async def press(self, label: str, user: str, message: Posted | None = None) -> None:
        await self.desk.take(self.slack.press(message or await self.message(), label, user))

    async def answer(self, user: str, reason: str, lasting: str = "") -> None:
        """Answer the dialog that was opened last."""
        await self.desk.take(submitted(self.slack.dialogs[-1], user, reason, lasting))

    def whispered(self) -> tuple[str, str]:
        """What somebody was told last, for his eyes alone."""
        return self.slack.whispers[-1]


async def waiting(world: World, slack: SlackServer) -> Desktop:
    """1.0.0 runs, and 2.0.0 waits for two approvals."""
    world.more = APPROVALS
    patiently(world, "1.0.0")
    await world.settle()
    patiently(world, "2.0.0")
    await world.settle()
    return Desktop(world, slack)


def audited(world: World, event: str) -> list[tuple[str, str]]:
    rows = world.core.store.audit_rows(limit=100)
    return [(row.actor, row.detail) for row in reversed(rows) if row.event == event]


async def test_two_people_approve_from_the_message_and_its_buttons_go(
    world: World, slack: SlackServer
) -> None:
    desktop = await waiting(world, slack)
    message = await desktop.message()
    assert labels(message.blocks) == ["Approve", "Hold"]
    await desktop.press("Approve", ADA)
    assert desktop.whispered() == (ADA, "production: api is approved by you")
    await world.settle()
    assert world.answers() == "1.0.0"
    message = await desktop.message()
    assert "is approved by ada@example.org" in message.replies[-1]
    assert labels(message.blocks) == ["Approve", "Hold"], "one more is needed"

    await desktop.press("Approve", EVE)
    await desktop.message()
    assert labels(message.blocks) == ["Hold"], "nothing is left to be approved"
    await world.settle()
    assert world.answers() == "2.0.0"
    assert labels((await desktop.message()).blocks) == ["Roll back"]
    assert [actor for actor, _ in audited(world, "approved")] == ["ada@example.org", "eve@example.org"]
    assert audited(world, "approve-in-slack")[0] == ("ada@example.org", f"asked for by Slack's {ADA}")


@pytest.mark.fault("NT-06")
async def test_a_double_click_is_one_approval_and_two_of_one_person_do_not_count(
    world: World, slack: SlackServer
) -> None:
    desktop = await waiting(world, slack)
    message = await desktop.message()
    click = slack.press(message, "Approve", ADA)
    again = slack.press(message, "Approve", ADA)
    await asyncio.gather(*(desktop.desk.take(each) for each in (click, click, again)))
    assert len(world.core.store.permits("production").approvals) == 1
    assert [text.partition(" (")[0] for _, text in sorted(slack.whispers)] == [
        "ada@example.org has approved this already",
        "production: api is approved by you",
    ]
    await world.settle()
    assert world.answers() == "1.0.0"


@pytest.mark.fault("NT-06")
async def test_what_moved_since_it_was_shown_is_not_approved(world: World, slack: SlackServer) -> None:
    desktop = await waiting(world, slack)
    old = await desktop.message()
    click = slack.press(old, "Approve", ADA)
    patiently(world, "3.0.0")
    await world.settle()
    await desktop.desk.take(click)
    assert desktop.whispered()[1].startswith(
        "production: the change of api has moved since that was shown; look again"
    )
    assert world.core.store.permits("production").approvals == ()
    new = await desktop.message()
    assert new is not old
    assert labels(old.blocks) == [], "what is superseded has no buttons"
    await desktop.press("Approve", ADA, new)
    assert len(world.core.store.permits("production").approvals) == 1


@pytest.mark.fault("NT-06")
@pytest.mark.parametrize(
    ("user", "name", "said"),
    [
        (MALLORY, f"Slack's {MALLORY}", f"Slack's {MALLORY} is nobody that UGS knows; have an admin add you"),
        (
            BOB,
            "bob@example.org",
            "bob@example.org may not do this in production/api; it takes the role approver",
        ),
    ],
)
async def test_who_may_not_is_told_so_and_audited(
    world: World, slack: SlackServer, user: str, name: str, said: str
) -> None:
    desktop = await waiting(world, slack)
    await desktop.press("Approve", user)
    assert desktop.whispered()[0] == user
    assert desktop.whispered()[1].startswith(said)
    assert world.core.store.permits("production").approvals == ()
    ((actor, detail),) = audited(world, "denied")
    assert (actor, detail.partition(": ")[0]) == (name, "approve in Slack")
    assert slack.dialogs == []


async def test_a_hold_asks_why_and_for_how_long(world: World, slack: SlackServer) -> None:
    desktop = await waiting(world, slack)
    await desktop.press("Hold", EVE)
    assert "may not do this" in desktop.whispered()[1]
    assert slack.dialogs == []
    await desktop.press("Hold", ADA)
    assert slack.dialogs[-1]["title"]["text"] == "Hold api"
    await desktop.answer(ADA, "database move", "4h")
    (hold,) = world.core.store.permits("production").holds
    assert (hold.owner, hold.reason, hold.service) == ("ada@example.org", "database move", "api")
    assert hold.until is not None
    assert round((hold.until - hold.since).total_seconds()) == 4 * 3600
    assert desktop.whispered() == (ADA, "production: api is held")
    await desktop.answer(ADA, "database move", "4h")
    assert len(world.core.store.permits("production").holds) == 1, "one dialog is answered once"


async def test_a_dialog_is_answered_only_by_who_may(world: World, slack: SlackServer) -> None:
    desktop = await waiting(world, slack)
    await desktop.press("Hold", ADA)
    await desktop.answer(BOB, "because", "4h")
    assert "may not do this" in desktop.whispered()[1]
    assert world.core.store.permits("production").holds == ()


async def test_a_rollback_from_the_message_restores_and_reverts(world: World, slack: SlackServer) -> None:
    patiently(world, "1.0.0")
    await world.settle()
    patiently(world, "1.1.0")
    await world.settle()
    desktop = Desktop(world, slack)
    await desktop.press("Roll back", ADA)
    await desktop.answer(ADA, "  ")
    assert desktop.whispered()[1].startswith("a reason is needed")
    await desktop.press("Roll back", ADA)
    await desktop.answer(ADA, "orders are lost")
    assert desktop.whispered() == (ADA, "production: api is being rolled back")
    await world.settle()
    assert world.answers() == "1.0.0"
    message = await desktop.message()
    assert "— reverted" in message.text
    assert "rolled back by ada@example.org: orders are lost" in message.text
    assert labels(message.blocks) == []


async def test_a_rollback_is_of_what_the_message_told_of_and_of_nothing_newer(
    world: World, slack: SlackServer
) -> None:
    patiently(world, "1.0.0")
    await world.settle()
    patiently(world, "1.1.0")
    await world.settle()
    desktop = Desktop(world, slack)
    old = await desktop.message()
    patiently(world, "1.2.0")
    await world.settle()
    await desktop.press("Roll back", ADA, old)
    assert desktop.whispered()[1].startswith("production: api has moved on since that was shown; look again")
    assert slack.dialogs == []
    assert world.answers() == "1.2.0"


async def test_one_that_is_being_verified_is_rolled_back_from_the_message(
    world: World, slack: SlackServer
) -> None:
    patiently(world, "1.0.0")
    await world.settle()
    world.bump("1.1.0", soak="1m", deadline="5m")
    await world.reach(Phase.VERIFYING)
    desktop = Desktop(world, slack)
    message = await desktop.message()
    assert labels(message.blocks) == ["Hold", "Roll back"]
    await desktop.press("Roll back", ADA)
    await desktop.answer(ADA, "I see errors")
    await world.rest()
    await world.settle()
    assert world.answers() == "1.0.0"
    assert world.phases() == ["succeeded", "reverted"]


@pytest.mark.fault("NT-01")
async def test_an_answer_that_does_not_arrive_and_a_bug_end_nothing(
    world: World, slack: SlackServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    desktop = await waiting(world, slack)
    click = slack.press(await desktop.message(), "Approve", ADA)
    slack.go_down()
    await desktop.desk.take(click)
    assert len(world.core.store.permits("production").approvals) == 1
    assert "an answer in Slack is not delivered: Slack cannot be reached" in caplog.text
    slack.come_up()

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("reconciler.engine.permits.approve", broken)
    await desktop.press("Approve", EVE)
    assert desktop.whispered() == (EVE, "this was stopped by a bug of UGS; look at its log")
    assert "ZeroDivisionError" in caplog.text
    await desktop.desk.take({"type": "shortcut"})


async def test_that_nothing_is_heard_is_said_among_what_needs_a_person(
    world: World, slack: SlackServer
) -> None:
    desktop = await waiting(world, slack)
    slack.socket_url = "ws://127.0.0.1:1/link"
    (companion,), _ = hearing(desktop.daemon, world.core.settings)
    task = asyncio.create_task(cast(Any, companion()))
    try:
        await world.eventually(lambda: needs_person(world.fleet))
        (said,) = needs_person(world.fleet)
        assert said.startswith("what is pressed in Slack is not heard: Slack cannot be reached")
        async with socket_server() as socket:
            slack.socket_url = socket.url
            await world.eventually(lambda: not needs_person(world.fleet))
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def pressed_through_the_socket(world: World, slack: SlackServer) -> AsyncIterator[Any]:
    async with socket_server() as socket:
        slack.socket_url = socket.url
        desktop = await waiting(world, slack)
        (companion,), routes = hearing(desktop.daemon, world.core.settings)
        assert routes == []
        task = asyncio.create_task(cast(Any, companion()))
        try:
            await socket.until_connected()
            yield desktop, socket
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_through_socket_mode_it_is_acknowledged_before_it_is_done(
    world: World, slack: SlackServer, pressed_through_the_socket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desktop, socket = pressed_through_the_socket
    free, weigher = threading.Event(), world.fleet.passes["production"].weigher
    asked = weigher.asked

    async def slow(*arguments: Any) -> Any:
        assert await asyncio.to_thread(free.wait, 30)
        return await asked(*arguments)

    monkeypatch.setattr(weigher, "asked", slow)
    message = await desktop.message()
    await socket.interact(slack.press(message, "Approve", ADA))
    await socket.interact(slack.press(message, "Approve", EVE))
    await socket.until_acknowledged(2)
    assert slack.whispers == []
    free.set()
    await world.eventually(lambda: len(slack.whispers) == 2)
    await world.settle()
    assert world.answers() == "2.0.0"
