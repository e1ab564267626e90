"""Order, patience and memory of the outbox, over real SQLite and a messenger that does as it is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

import pytest

from reconciler.model.notice import Notice
from reconciler.notify import Outbox, Thread, Undelivered
from reconciler.notify.outbox import backoff_s
from reconciler.store import SLACK, Store
from tests.notify.notices import alert, notice
from tests.store.builders import START, HandClock


class Messenger:
    """Keeps what it was told, and fails where `failures` (by sentence) say so."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.told: list[str] = []
        self.failures: dict[str, Undelivered] = {}

    async def show(self, notices: Sequence[Notice], thread: Thread | None) -> Thread:
        self.shown.append(f"{thread.ts if thread else 'new'}: {notices[-1].sentence}")
        return thread or Thread("C1", f"ts{len(self.shown)}")

    async def sum_up(self, notices: Sequence[Notice]) -> None:
        self.told += [f"together: {one.sentence}" for one in notices]

    async def tell(self, notice: Notice, thread: Thread | None) -> None:
        if notice.sentence in self.failures:
            raise self.failures[notice.sentence]
        self.told.append(f"{thread.ts if thread else 'alone'}: {notice.sentence}")


@pytest.fixture
def messenger() -> Messenger:
    return Messenger()


@pytest.fixture
def outbox(store: Store, messenger: Messenger, clock: HandClock) -> Outbox:
    return Outbox(store, messenger, now=clock.now)


async def test_one_message_an_upgrade_edited_to_the_newest_with_all_in_its_thread(
    store: Store, messenger: Messenger, outbox: Outbox
) -> None:
    for sentence in ("planned", "applying"):
        store.tell(notice(sentence))
    store.tell(notice("other", operation="op2"))
    store.tell(alert("help"))
    assert await outbox.deliver() is None
    store.tell(notice("verifying"))
    assert await outbox.deliver() is None
    assert messenger.shown == ["new: applying", "new: other", "ts1: verifying"]
    assert messenger.told == ["ts1: planned", "ts1: applying", "ts2: other", "alone: help", "ts1: verifying"]


async def test_a_round_is_bounded_and_says_that_more_is_due(
    store: Store, messenger: Messenger, outbox: Outbox
) -> None:
    with store.transaction():
        for number in range(101):
            store.tell(alert(f"{number}"))
    assert await outbox.deliver() == START
    assert len(messenger.told) == 100
    assert await outbox.deliver() is None
    assert messenger.told == [f"alone: {number}" for number in range(101)]


async def test_nothing_to_tell_is_nothing_to_wait_for(messenger: Messenger, outbox: Outbox) -> None:
    assert await outbox.deliver() is None
    assert (messenger.shown, messenger.told) == ([], [])


async def test_without_a_messenger_nothing_piles_up(store: Store, clock: HandClock) -> None:
    store.tell(notice("planned"))
    store.tell(alert("help"))
    assert await Outbox(store, None, now=clock.now).deliver() is None
    assert store.pending(SLACK) == 0


async def test_a_thread_that_fails_waits_alone_and_in_order(
    store: Store, messenger: Messenger, outbox: Outbox, clock: HandClock
) -> None:
    messenger.failures["second"] = Undelivered("Slack answered 503")
    for sentence in ("first", "second", "third"):
        store.tell(notice(sentence))
    store.tell(alert("help"))
    assert await outbox.deliver() == START + timedelta(seconds=1)
    assert messenger.told == ["ts1: first", "alone: help"]
    assert store.trouble(SLACK) == "Slack answered 503"

    clock.move(1)
    assert await outbox.deliver() == clock.now() + timedelta(seconds=2)

    messenger.failures.clear()
    clock.move(2)
    assert await outbox.deliver() is None
    assert messenger.told == ["ts1: first", "alone: help", "ts1: second", "ts1: third"]
    assert store.trouble(SLACK) == ""


async def test_a_channel_that_is_held_lets_nothing_pass_until_then(
    store: Store, messenger: Messenger, outbox: Outbox, clock: HandClock
) -> None:
    messenger.failures["first"] = Undelivered("Slack asks to wait 30 s", retry_s=30, whole_channel=True)
    store.tell(alert("first"))
    store.tell(alert("second"))
    until = START + timedelta(seconds=30)
    assert await outbox.deliver() == until
    store.tell(alert("third"))
    clock.move(29)
    assert await outbox.deliver() == until
    assert messenger.told == []
    messenger.failures.clear()
    clock.move(1)
    assert await outbox.deliver() is None
    assert messenger.told == ["alone: first", "alone: second", "alone: third"]


async def test_a_channel_that_is_let_go_takes_what_comes_at_once(
    store: Store, messenger: Messenger, outbox: Outbox, clock: HandClock
) -> None:
    messenger.failures["first"] = Undelivered("Slack asks to wait 1 h", retry_s=3600, whole_channel=True)
    store.tell(alert("first"))
    await outbox.deliver()
    messenger.failures.clear()
    store.tell(alert("second"))
    await outbox.deliver()
    assert messenger.told == []
    outbox.let_go()
    await outbox.deliver()
    assert messenger.told == ["alone: second"]


@pytest.mark.fault("CR-10")
async def test_a_restart_goes_on_where_delivery_stopped(
    store: Store, messenger: Messenger, outbox: Outbox, clock: HandClock
) -> None:
    messenger.failures["second"] = Undelivered("Slack cannot be reached", whole_channel=True)
    for sentence in ("first", "second"):
        store.tell(notice(sentence))
    await outbox.deliver()
    messenger.failures.clear()
    clock.move(1)
    assert await Outbox(store, messenger, now=clock.now).deliver() is None
    assert messenger.shown == ["new: second", "ts1: second"]
    assert messenger.told == ["ts1: first", "ts1: second"]


async def test_a_row_of_another_version_is_given_up_and_the_rest_delivered(
    store: Store, messenger: Messenger, outbox: Outbox
) -> None:
    for sentence in ("first", "second"):
        store.tell(notice(sentence))
    store._connection.execute("""UPDATE outbox SET payload = '{"sentence":1}' WHERE id = 1""")
    assert await outbox.deliver() is None
    assert messenger.told == ["ts1: second"]

    store.tell(notice("third"))
    store._connection.execute("UPDATE outbox SET payload = 'no JSON' WHERE id = 3")
    assert await outbox.deliver() is None
    assert (len(messenger.shown), store.pending(SLACK)) == (1, 0)


async def test_the_same_trouble_is_logged_once(
    store: Store,
    messenger: Messenger,
    outbox: Outbox,
    clock: HandClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    messenger.failures["first"] = Undelivered("Slack refuses: no_such", "look", retry_s=600)
    store.tell(alert("first"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await outbox.deliver()
            clock.move(600)
    assert caplog.messages == ["slack: Slack refuses: no_such; look"]


def test_waiting_doubles_up_to_five_minutes() -> None:
    assert [backoff_s(attempts) for attempts in (0, 1, 2, 8, 9, 1_000_000)] == [1, 2, 4, 256, 300, 300]
