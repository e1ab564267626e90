"""Many notices in one message: what waits for it, what does not, and that nothing is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from reconciler.model.digest import Digest
from reconciler.notify import Outbox, SlackBot, SlackWeb, SlackWebhook
from reconciler.store import SLACK, Store
from tests.notify.notices import alert, notice
from tests.notify.slack_server import SlackServer
from tests.store.builders import START, HandClock

DIGEST = Digest(over=3)
QUARTER = START + timedelta(minutes=15)


def outbox(store: Store, slack: SlackServer, clock: HandClock, digest: Digest | None = DIGEST) -> Outbox:
    bot = SlackBot(SlackWeb(slack.token, api=slack.api), slack.channel)
    return Outbox(store, bot, now=clock.now, digest=digest)


async def until(box: Outbox, clock: HandClock, seconds: float) -> None:
    """Deliver as the daemon does: again as long as something is due."""
    clock.move(seconds)
    while (again := await box.deliver()) is not None and again <= clock.now():
        pass


@pytest.mark.fault("NT-04")
async def test_a_storm_is_one_message_every_quarter_of_an_hour_and_nothing_is_lost(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    box = outbox(store, slack, clock)
    with store.transaction():
        for number in range(500):
            store.tell(notice(f"upgrade {number}", operation=f"op{number}"))
    await until(box, clock, 0)
    assert (slack.texts, store.next_due(SLACK)) == ([], QUARTER)
    await until(box, clock, 15 * 60)
    (message,) = slack.messages
    lines = message.text.splitlines()
    assert lines[0] == ":information_source: 500 notices since 10:00 UTC"
    assert lines[-2:] == ["10:00:00 UTC  upgrade 499", "and 460 more: see `ugs history`"]
    assert (store.pending(SLACK), slack.violations) == (0, [])


@pytest.mark.fault("NT-04")
async def test_what_is_urgent_goes_at_once_with_what_came_before_it_in_its_thread(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    box = outbox(store, slack, clock)
    for number in range(5):
        store.tell(notice("verifying", operation=f"op{number}"))
    await until(box, clock, 0)
    assert slack.texts == []
    store.tell(notice("it fails", operation="op3", severity="warning", phase="restoring"))
    store.tell(alert("the disk is full"))
    store.tell(replace(notice("needs 1 approval", operation="op9", phase="waiting"), ask="0123"))
    await until(box, clock, 1)
    upgrade, help_wanted, asked = slack.messages
    assert asked.text.endswith("needs 1 approval")
    assert [reply.split("UTC  ")[1] for reply in upgrade.replies] == ["verifying", "it fails"]
    assert help_wanted.text.endswith("the disk is full")
    await until(box, clock, 15 * 60)
    assert slack.texts[3].splitlines()[0] == ":information_source: 4 notices since 10:00 UTC"


async def test_a_message_that_is_there_already_is_brought_up_to_date(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    box = outbox(store, slack, clock)
    store.tell(notice("verifying"))
    await until(box, clock, 0)
    for number in range(4):
        store.tell(notice("verifying", operation=f"other{number}"))
    store.tell(notice("healthy", phase="succeeded"))
    await until(box, clock, 0)
    assert len(slack.messages) == 1
    await until(box, clock, 15 * 60)
    first, digest = slack.messages
    assert "— succeeded\nhealthy" in first.text
    assert len(first.replies) == 1
    assert "healthy" in digest.text


@pytest.mark.fault("CR-10")
async def test_what_is_gathered_outlives_the_daemon_and_the_setting(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    box = outbox(store, slack, clock)
    for number in range(5):
        store.tell(notice("verifying", operation=f"op{number}"))
    await until(box, clock, 0)
    again = outbox(store, slack, clock, digest=None)
    await until(again, clock, 60)
    assert slack.texts == []
    await until(again, clock, 15 * 60)
    assert len(slack.messages) == 1
    assert store.pending(SLACK) == 0


@pytest.mark.fault("NT-01")
async def test_a_digest_that_is_not_taken_is_tried_again_whole(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    box = outbox(store, slack, clock)
    for number in range(5):
        store.tell(notice("verifying", operation=f"op{number}"))
    await until(box, clock, 0)
    slack.go_down()
    await until(box, clock, 15 * 60)
    assert store.pending(SLACK) == 5
    slack.come_up()
    await until(box, clock, 1)
    assert slack.texts[0].startswith(":information_source: 5 notices")
    assert (len(slack.texts), store.pending(SLACK)) == (1, 0)


async def test_a_message_that_cannot_be_brought_up_to_date_is_left_behind(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    box = outbox(store, slack, clock)
    store.tell(notice("verifying"))
    await until(box, clock, 0)
    for number in range(4):
        store.tell(notice("verifying", operation=f"other{number}"))
    store.tell(notice("healthy", phase="succeeded"))
    await until(box, clock, 0)
    clock.move(15 * 60)
    channels = slack.channel_id
    slack.channel_id = "C0MOVED"
    await box.deliver()
    slack.channel_id = channels
    assert store.pending(SLACK) == 0
    slack.violations.clear()


async def test_quiet_times_and_other_channels_are_told_as_ever(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    box = outbox(store, slack, clock)
    for number in range(6):
        store.tell(notice("verifying", operation=f"op{number}"))
        await until(box, clock, 5 * 60)
    assert len(slack.messages) == 6


async def test_a_webhook_has_digests_too(store: Store, slack: SlackServer, clock: HandClock) -> None:
    box = Outbox(store, SlackWebhook(slack.webhook), now=clock.now, digest=DIGEST)
    for number in range(5):
        store.tell(notice("verifying", operation=f"op{number}"))
    await until(box, clock, 0)
    await until(box, clock, 15 * 60)
    assert [text.splitlines()[0] for text in slack.texts] == [
        ":information_source: 5 notices since 10:00 UTC"
    ]


async def test_a_row_that_is_none_keeps_no_digest_up(
    store: Store, slack: SlackServer, clock: HandClock
) -> None:
    box = outbox(store, slack, clock)
    for number in range(5):
        store.tell(notice("verifying", operation=f"op{number}"))
    await until(box, clock, 0)
    store._connection.execute("""UPDATE outbox SET payload = '{"severity":"info"}'""")
    await until(box, clock, 15 * 60)
    assert (slack.texts, store.pending(SLACK)) == ([], 0)
