"""Slack through an incoming webhook, which can neither edit nor reply."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from reconciler.notify import Outbox, SlackWebhook
from reconciler.store import SLACK, Store
from tests.notify.notices import alert, notice
from tests.notify.slack_server import Answer, SlackServer
from tests.store.builders import START, HandClock


@pytest.fixture
def hook(store: Store, slack: SlackServer, clock: HandClock) -> Outbox:
    return Outbox(store, SlackWebhook(slack.webhook), now=clock.now)


async def test_a_webhook_tells_transitions_alerts_and_calls_for_help_but_no_details(
    store: Store, slack: SlackServer, hook: Outbox
) -> None:
    for told in (
        notice("probing"),
        notice("1 of 3 probes pass"),
        notice("probes cannot be made", severity="person"),
        notice("healthy", phase="succeeded"),
        alert("the disk is full"),
    ):
        store.tell(told)
        assert await hook.deliver() is None
    assert [text.splitlines()[1] for text in slack.texts] == [
        "probing",
        "probes cannot be made",
        "healthy",
        "the disk is full",
    ]
    assert (slack.violations, store.pending(SLACK)) == ([], 0)


async def test_a_webhook_that_was_down_tells_all_in_one_message_after_a_restart(
    store: Store, slack: SlackServer, hook: Outbox, clock: HandClock
) -> None:
    slack.go_down()
    for phase in ("applying", "reverted"):
        store.tell(notice(f"now {phase}", phase=phase))
    assert await hook.deliver() == START + timedelta(seconds=1)
    slack.come_up()
    clock.move(1)
    again = Outbox(store, SlackWebhook(slack.webhook), now=clock.now)
    assert await again.deliver() is None
    assert slack.texts == [":rewind: production: api 1.4.0 → 1.5.0 — reverted\nnow applying\nnow reverted"]


@pytest.mark.parametrize(
    ("answer", "after_s", "trouble"),
    [
        (Answer(429, "rate_limited"), 30, "Slack asks to wait 30 s"),
        (Answer(500, "rollup_error"), 1, "Slack answered 500 rollup_error"),
        (
            Answer(403, "invalid_token"),
            600,
            "Slack refuses: invalid_token; put the webhook's current URL in place",
        ),
        (Answer(400, "invalid_payload"), 600, "Slack refuses: invalid_payload; look the word up"),
        (Answer(404, "<html>no</html>"), 600, "what answers 404 is not Slack; check notify.slack"),
        (Answer(200, "<html>Please log in</html>"), 600, "what answers 200 is not Slack; check notify.slack"),
    ],
)
async def test_what_a_webhook_can_answer(
    store: Store, slack: SlackServer, hook: Outbox, answer: Answer, after_s: int, trouble: str
) -> None:
    slack.answer_next(answer)
    store.tell(alert("help"))
    assert await hook.deliver() == START + timedelta(seconds=after_s)
    assert store.trouble(SLACK).startswith(trouble)


async def test_the_webhooks_url_is_a_secret(
    store: Store, slack: SlackServer, hook: Outbox, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="slack_sdk")
    store.tell(alert("help"))
    await hook.deliver()
    broken = Outbox(store, SlackWebhook("http://exa mple/services/the-secret-path"), now=clock.now)
    store.tell(alert("again"))
    await broken.deliver()
    assert "Slack cannot be reached" in store.trouble(SLACK)
    assert "secret" not in caplog.text + store.trouble(SLACK)
