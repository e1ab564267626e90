"""What is counted for ever, and how old what is to be told is."""

from __future__ import annotations

from datetime import timedelta

from reconciler.store import NOTE, SLACK, Note, Store, Tally
from tests.store.builders import START, HandClock, notice


def test_counts_add_up_and_go_along_with_a_new_name(store: Store) -> None:
    for event in ("succeeded", "succeeded", "reverted"):
        store.tally("production", event, "patch")
    store.tally("live", "succeeded", "patch")
    store.tally("staging", "succeeded", "patch")
    store.rename("production", "live")
    assert store.tallies() == [
        Tally("live", "patch", "reverted", 1),
        Tally("live", "patch", "succeeded", 3),
        Tally("staging", "patch", "succeeded", 1),
    ]


def test_a_queue_is_as_old_as_the_oldest_that_waits(store: Store, clock: HandClock) -> None:
    assert store.queues() == {}
    store.tell(notice())
    clock.move(60)
    store.tell(notice())
    store.write_note(Note("c" * 40, "op", "{}"))
    assert store.queues() == {SLACK: (2, START), NOTE: (1, START + timedelta(minutes=1))}
    store.delivered([store.due(SLACK, clock.now(), limit=1)[0].id])
    assert store.queues()[SLACK] == (1, START + timedelta(minutes=1))
