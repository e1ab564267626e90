"""The author of a commit is mentioned when it fails: who that is comes from ugs.yaml or Slack, never from Git."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.model.errors import HostError
from reconciler.model.notice import Notice, Severity
from reconciler.notify import Authors, Outbox, SlackBot, SlackWeb
from reconciler.store import SLACK, Store
from tests.notify.notices import notice
from tests.notify.slack_server import Answer, SlackServer
from tests.store.builders import HandClock

REVISION = "a" * 40
LOOKUP = "/api/users.lookupByEmail"


def told(severity: Severity = "warning") -> Notice:
    return replace(notice("it fails", severity=severity, phase="restoring"), revision=REVISION)


def mentioned(slack: SlackServer) -> list[str]:
    """Whom the replies mentioned, in order."""
    return [
        one["user_id"] for blocks in slack.reply_blocks for one in _elements(blocks) if one["type"] == "user"
    ]


def _elements(blocks: list[Any]) -> list[Any]:
    return [one for block in blocks for section in block["elements"] for one in section["elements"]]


def outbox(
    store: Store, slack: SlackServer, clock: HandClock, email_of: Callable[[str], str], *, lookup: bool = True
) -> Outbox:
    web = SlackWeb(slack.token, api=slack.api)
    authors = Authors(web, {"Ada@example.org": "U0ADA"}, email_of, lookup=lookup)
    return Outbox(store, SlackBot(web, slack.channel, authors=authors), now=clock.now)


async def test_who_is_known_is_mentioned_when_it_fails_and_not_when_it_goes_well(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    box = outbox(store, slack, clock, lambda _revision: "ada@Example.org")
    severities: tuple[Severity, ...] = ("info", "warning", "person")
    for severity in severities:
        store.tell(told(severity))
    await box.deliver()
    assert mentioned(slack) == ["U0ADA", "U0ADA"]
    assert (store.pending(SLACK), slack.violations) == (0, [])
    assert not [call for call in slack.calls if LOOKUP in call]


async def test_slack_is_asked_once_who_has_an_address(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    slack.addresses["eve@example.org"] = "U0EVE"
    box = outbox(store, slack, clock, lambda _revision: "eve@example.org")
    for _ in range(2):
        store.tell(told())
        await box.deliver()
    assert mentioned(slack) == ["U0EVE", "U0EVE"]
    assert len([call for call in slack.calls if LOOKUP in call]) == 1


@pytest.mark.fault("NT-02")
@pytest.mark.parametrize(
    "address", ["", "mallory", "<!channel>", "a b@example.org", "nobody@example.org", "@" * 300]
)
async def test_who_is_not_known_is_not_mentioned(
    store: Store, slack: SlackServer, clock: HandClock, address: str
) -> None:
    box = outbox(store, slack, clock, lambda _revision: address)
    for _ in range(2):
        store.tell(told())
        await box.deliver()
    assert (mentioned(slack), store.pending(SLACK), slack.violations) == ([], 0, [])
    assert len([call for call in slack.calls if LOOKUP in call]) == (address == "nobody@example.org")


@pytest.mark.fault("NT-01")
async def test_what_goes_wrong_with_a_mention_loses_no_message(
    store: Store, slack: SlackServer, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    slack.addresses["eve@example.org"] = "<!channel>"
    box = outbox(store, slack, clock, lambda _revision: "eve@example.org")
    slack.answer_for(LOOKUP, Answer(200, '{"ok": false, "error": "missing_scope"}'), times=2)
    for _ in range(3):
        store.tell(told())
        await box.deliver()
    assert (mentioned(slack), store.pending(SLACK), slack.violations) == ([], 0, [])
    assert len(slack.messages[0].replies) == 3
    assert caplog.text.count("authors are not mentioned: Slack refuses: missing_scope") == 1


async def test_a_commit_that_cannot_be_read_has_no_author(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    def broken(_revision: str) -> str:
        raise HostError("the mirror is gone")

    box = outbox(store, slack, clock, broken)
    store.tell(told())
    await box.deliver()
    assert (mentioned(slack), store.pending(SLACK)) == ([], 0)


async def test_somebody_whom_slack_will_not_mention_is_left_out(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    box = outbox(store, slack, clock, lambda _revision: "ada@example.org")
    store.tell(told("info"))
    await box.deliver()
    slack.strangers.add("U0ADA")
    store.tell(told())
    await box.deliver()
    assert (mentioned(slack), store.pending(SLACK)) == ([], 0)
    assert len(slack.messages[0].replies) == 2
    assert slack.violations == ["invalid_blocks"]
