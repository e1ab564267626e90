"""Slack itself: what is posted, edited and answered in threads, and every way in which it can refuse."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.notify import Outbox, SlackBot, SlackWeb, SlackWebhook
from reconciler.store import SLACK, Store
from tests.notify.notices import alert, notice
from tests.notify.slack_server import Answer, SlackServer
from tests.store.builders import START, HandClock

ROOT = Path(__file__).parents[2]


@pytest.fixture
def outbox(store: Store, slack: SlackServer, clock: HandClock) -> Outbox:
    return Outbox(store, SlackBot(SlackWeb(slack.token, api=slack.api), slack.channel), now=clock.now)


async def test_an_upgrade_is_one_message_edited_in_place_with_details_in_its_thread(
    store: Store, slack: SlackServer, outbox: Outbox
) -> None:
    for phase, sentence in (("verifying", "probing"), ("succeeded", "healthy in 4 s")):
        store.tell(notice(sentence, phase=phase))
        assert await outbox.deliver() is None
    (message,) = slack.messages
    assert message.text == ":white_check_mark: production: api 1.4.0 → 1.5.0 — succeeded\nhealthy in 4 s"
    assert message.edits == [":mag: production: api 1.4.0 → 1.5.0 — verifying\nprobing"]
    assert message.replies == [
        ":mag: 10:00:00 UTC  probing",
        ":white_check_mark: 10:00:00 UTC  healthy in 4 s",
    ]
    assert message.broadcasts == []
    assert slack.violations == []


async def test_a_call_for_a_person_is_seen_outside_the_thread_too(
    store: Store, slack: SlackServer, outbox: Outbox
) -> None:
    store.tell(notice("the remote refuses the revert", phase="reverting", severity="person"))
    store.tell(alert("the disk is full"))
    await outbox.deliver()
    first, second = slack.messages
    assert first.broadcasts == [":rotating_light: 10:00:00 UTC  the remote refuses the revert"]
    assert second.text == ":rotating_light: production: api\nthe disk is full"


@pytest.mark.fault("NT-02")
async def test_text_from_git_calls_nobody(store: Store, slack: SlackServer, outbox: Outbox) -> None:
    store.tell(notice("<!channel> @here & <https://evil.example|ok>"))
    await outbox.deliver()
    assert slack.violations == []
    assert "&lt;!channel&gt; @\u2060here &amp;" in slack.messages[0].text


@pytest.mark.fault("NT-01")
async def test_a_rate_limit_holds_everything_for_as_long_as_slack_says(
    store: Store, slack: SlackServer, outbox: Outbox, clock: HandClock
) -> None:
    slack.rate_limit(30)
    store.tell(notice("probing"))
    store.tell(alert("help"))
    assert await outbox.deliver() == START + timedelta(seconds=30)
    clock.move(29)
    await outbox.deliver()
    assert slack.calls == ["/api/chat.postMessage 429"]
    assert store.trouble(SLACK) == "Slack asks to wait 30 s"
    clock.move(1)
    assert await outbox.deliver() is None
    assert [len(slack.messages), slack.messages[0].replies] == [2, [":mag: 10:00:00 UTC  probing"]]


async def test_a_rate_limit_in_the_middle_of_a_thread_repeats_nothing(
    store: Store, slack: SlackServer, outbox: Outbox, clock: HandClock
) -> None:
    store.tell(notice("one"))
    await outbox.deliver()
    for sentence in ("two", "three"):
        store.tell(notice(sentence))
    slack.answer_next(Answer(200, '{"ok":true,"channel":"C0DEPLOYS","ts":"1790000000.000001"}'))  # the edit
    slack.rate_limit(5)
    await outbox.deliver()
    clock.move(5)
    assert await outbox.deliver() is None
    assert [reply.split()[-1] for reply in slack.messages[0].replies] == ["one", "two", "three"]


@pytest.mark.parametrize("header", ["", "Sun, 22 Nov 2026 10:00:30 GMT", "nan"])
async def test_a_rate_limit_without_a_number_waits_half_a_minute(
    store: Store, slack: SlackServer, outbox: Outbox, header: str
) -> None:
    slack.answer_next(Answer(429, "slow down", {"Retry-After": header} if header else {}))
    store.tell(alert("help"))
    assert await outbox.deliver() == START + timedelta(seconds=30)


@pytest.mark.fault("NT-01")
async def test_down_for_the_whole_upgrade_then_everything_in_order_exactly_once(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    slack.go_down()
    waits: list[float] = []
    for phase in ("applying", "verifying", "restoring", "reverted"):
        store.tell(notice(phase, phase=phase))
        # The daemon is started anew each time: nothing may depend on what it remembers.
        outbox = Outbox(store, SlackBot(SlackWeb(slack.token, api=slack.api), slack.channel), now=clock.now)
        again_at = await outbox.deliver()
        assert again_at is not None
        waits.append((again_at - clock.now()).total_seconds())
        clock.move(waits[-1])
    assert waits == [1, 2, 4, 8]
    assert store.trouble(SLACK).startswith("Slack cannot be reached: Connect call failed")

    slack.come_up()
    assert await outbox.deliver() is None
    (message,) = slack.messages
    assert message.text.splitlines()[0] == ":rewind: production: api 1.4.0 → 1.5.0 — reverted"
    assert [reply.split()[-1] for reply in message.replies] == [
        "applying",
        "verifying",
        "restoring",
        "reverted",
    ]
    assert (message.edits, store.pending(SLACK), slack.violations) == ([], 0, [])


@pytest.mark.fault("NT-01")
@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (Answer(503, "<html>upstream</html>"), "Slack answered 503"),
        (Answer(500, '{"ok":false,"error":"fatal_error"}'), "Slack answered 500 fatal_error"),
        (Answer(502, "{not JSON"), "Slack answered 502"),
        (Answer(200, '{"ok":false,"error":"internal_error"}'), "Slack answered 200 internal_error"),
    ],
)
async def test_trouble_at_slack_is_tried_again_soon_and_stalls_only_its_thread(
    store: Store, slack: SlackServer, outbox: Outbox, answer: Answer, trouble: str
) -> None:
    slack.answer_next(answer)
    store.tell(notice("probing"))
    store.tell(alert("help"))
    assert await outbox.deliver() == START + timedelta(seconds=1)
    assert store.trouble(SLACK) == trouble
    assert slack.texts == [":rotating_light: production: api\nhelp"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, "<html>Please log in</html>"),
        Answer(403, "<html>Forbidden</html>"),
        Answer(200, "hello", {"Content-Type": "text/plain"}),
        Answer(200, "\udcff", {"Content-Type": "text/plain; charset=utf-8"}),
        Answer(200, "[1]", {"Content-Type": "application/json"}),
        Answer(200, '{"ok":true}'),
        Answer(200, '{"ok":false,"error":"<script>"}'),
    ],
    ids=lambda answer: f"{answer.status} {answer.body!a}",
)
async def test_what_is_not_slack_is_said_and_asked_slowly(
    store: Store, slack: SlackServer, outbox: Outbox, answer: Answer
) -> None:
    slack.answer_next(answer)
    store.tell(alert("help"))
    assert await outbox.deliver() == START + timedelta(minutes=10)
    assert store.trouble(SLACK).startswith(f"what answers {answer.status} is not Slack; check notify")


async def test_a_wrong_token_is_told_with_its_remedy_and_never_shown(
    store: Store, slack: SlackServer, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = Outbox(store, SlackBot(SlackWeb("xoxb-wrong", api=slack.api), slack.channel), now=clock.now)
    store.tell(notice("probing"))
    store.tell(alert("help"))
    assert await wrong.deliver() == START + timedelta(minutes=10)
    assert slack.calls == ["/api/chat.postMessage 200"]
    assert store.trouble(SLACK) == "Slack refuses: invalid_auth; put a valid bot token in place"
    assert "xoxb" not in caplog.text


async def test_a_channel_that_is_not_there_is_told_with_its_remedy(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    lost = Outbox(store, SlackBot(SlackWeb(slack.token, api=slack.api), "#nowhere"), now=clock.now)
    store.tell(alert("help"))
    await lost.deliver()
    assert store.trouble(SLACK).startswith("Slack refuses: channel_not_found; check notify.slack.channel")


async def test_one_message_that_slack_refuses_does_not_stall_the_others(
    store: Store, slack: SlackServer, outbox: Outbox
) -> None:
    slack.answer_next(Answer(200, '{"ok":false,"error":"msg_too_long"}'))
    store.tell(notice("probing"))
    store.tell(alert("help"))
    assert await outbox.deliver() == START + timedelta(minutes=10)
    assert len(slack.messages) == 1


async def test_a_message_that_someone_deleted_is_posted_anew(
    store: Store, slack: SlackServer, outbox: Outbox
) -> None:
    store.tell(notice("probing"))
    await outbox.deliver()
    slack.messages.clear()
    store.tell(notice("done", phase="succeeded"))
    assert await outbox.deliver() is None
    (message,) = slack.messages
    assert message.replies == [":white_check_mark: 10:00:00 UTC  done"]
    assert store.thread("op1", SLACK) == (slack.channel_id, message.ts)


@pytest.mark.fault("NT-03")
@pytest.mark.parametrize("way", ["bot", "webhook"])
async def test_proxies_from_the_environment_are_not_used(
    store: Store, slack: SlackServer, clock: HandClock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    sender = (
        SlackWebhook(slack.webhook)
        if way == "webhook"
        else SlackBot(SlackWeb(slack.token, api=slack.api), slack.channel)
    )
    store.tell(alert("help"))
    assert await Outbox(store, sender, now=clock.now).deliver() is None
    assert len(slack.messages) == 1


def test_slack_is_not_paid_for_before_it_is_used() -> None:
    script = (
        "import sys, reconciler.notify, reconciler.store;"
        "print(sorted({'slack_sdk', 'aiohttp', 'sqlite_utils'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    assert said.stdout == "[]\n"
