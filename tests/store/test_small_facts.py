"""Health transitions, marks, the outbox's rows, and the bounds on what is kept."""

from __future__ import annotations

from datetime import timedelta

from reconciler.model import codec
from reconciler.model.notice import Notice
from reconciler.model.upgrade import Phase
from reconciler.store import NOTE, SLACK, Advance, Note, Store
from tests.store.builders import START, HandClock, bump, notice, work


def test_health_is_remembered_when_it_changes(store: Store) -> None:
    assert store.health("production", "api", "healthy", "")
    assert not store.health("production", "api", "healthy", "still")
    assert store.health("production", "web", "degraded", "")
    assert store.health("production", "api", "degraded", "1 of 3 crashed")
    assert store.health("production", "api", "healthy", "")


def test_marks_are_found_by_prefix_taken_literally(store: Store) -> None:
    store.mark("baseline:production", "a" * 40)
    store.mark("baseline:production", "b" * 40)
    store.mark("baseline_x", "1")
    store.mark("other", "2")
    assert store.marks("baseline:") == {"baseline:production": "b" * 40}
    assert store.marks("baseline%") == {}
    store.mark("other", None)
    assert set(store.marks("")) == {"baseline:production", "baseline_x"}


def test_advances_are_kept_in_order_and_start_over(store: Store) -> None:
    store.advance("a", "b")
    store.advance("b", "c")
    store.advance("b", "d")  # c never came into force
    assert store.advances() == [Advance("a", "b"), Advance("b", "d")]
    store.prune(advances_max=1)
    assert store.advances() == [Advance("b", "d")]
    store.advance(None, "e")
    assert store.advances() == []


def test_an_outbox_row_waits_is_postponed_and_is_done(store: Store, clock: HandClock) -> None:
    assert store.next_due(SLACK) is None
    told = notice(operation="op")
    store.tell(told)
    (row,) = store.due(SLACK, clock.now(), limit=10)
    assert codec.decode(row.payload, Notice) == told
    assert (row.key, row.attempts, row.created_at, store.next_due(SLACK)) == ("op", 0, START, START)

    later = START + timedelta(seconds=30)
    store.postpone([row.id], at=later, error="Slack answered 503")
    assert store.due(SLACK, clock.now(), limit=10) == []
    assert (store.next_due(SLACK), store.trouble(SLACK), store.pending(SLACK)) == (
        later,
        "Slack answered 503",
        1,
    )
    clock.move(30)
    (row,) = store.due(SLACK, clock.now(), limit=10)
    assert row.attempts == 1

    store.delivered([row.id])
    assert (store.due(SLACK, clock.now(), limit=10), store.pending(SLACK), store.trouble(SLACK)) == (
        [],
        0,
        "",
    )


def test_what_comes_later_does_not_overtake_its_own_thread(store: Store, clock: HandClock) -> None:
    for sentence, operation in (("1", "op"), ("2", "op"), ("3", "other"), ("4", None)):
        store.tell(notice(sentence, operation=operation))
    first = store.due(SLACK, clock.now(), limit=1)[0]
    store.postpone([first.id], at=START + timedelta(seconds=30), error="refused")
    store.tell(notice("5", operation="op"))
    store.tell(notice("6"))
    due = store.due(SLACK, clock.now(), limit=10)
    assert [codec.decode(row.payload, Notice).sentence for row in due] == ["3", "4", "6"]
    store.postpone([due[1].id], at=START + timedelta(seconds=40), error="refused")
    assert [row.key for row in store.due(SLACK, clock.now(), limit=10)] == ["other", ""]
    clock.move(30)
    due = store.due(SLACK, clock.now(), limit=10)
    assert [codec.decode(row.payload, Notice).sentence for row in due] == ["1", "2", "3", "5", "6"]


def test_notes_and_notices_are_separate_channels(store: Store, clock: HandClock) -> None:
    note = Note("a" * 40, "op", '{"ended":"succeeded"}')
    store.write_note(note)
    store.tell(notice(operation="op"))
    (row,) = store.due(NOTE, clock.now(), limit=10)
    assert codec.decode(row.payload, Note) == note
    store.delivered([row.id])
    assert (store.pending(NOTE), store.pending(SLACK)) == (0, 1)


def test_the_thread_of_an_upgrade_is_remembered(store: Store) -> None:
    assert store.thread("op", SLACK) is None
    store.remember_thread("op", SLACK, "C1", "1.0")
    store.remember_thread("op", SLACK, "C1", "2.0")
    assert store.thread("op", SLACK) == ("C1", "2.0")


def test_pruning_bounds_everything_but_the_audit_and_the_failures(store: Store, clock: HandClock) -> None:
    failed = bump(phase=Phase.REVERTED, revision="f" * 40)
    store.quarantine(failed, reason="failed")
    store.record(failed, event="reverted")
    for number in range(6):
        ended = bump(phase=Phase.SUCCEEDED, revision=f"{number:040x}")
        store.begin(ended.operation, "apply")
        store.remember_thread(ended.operation, SLACK, "C1", str(number))
        store.record(ended, event="succeeded", notices=[notice(str(number))])
        store.health("production", "api", "healthy" if number % 2 else "degraded", "")
    running = bump(phase=Phase.VERIFYING)
    store.record(running, event="verifying")
    store.deployed(work("1.0.0"), revision="a" * 40)
    store.delivered([row.id for row in store.due(SLACK, clock.now(), limit=3)])

    store.prune(upgrades_max=2, transitions_max=4, done_max=2, pending_max=1)

    kept = [bump(phase=Phase.SUCCEEDED, revision=f"{number:040x}") for number in (5, 4)]
    assert store.upgrades() == [running, *kept, failed]
    dropped = bump(revision=f"{0:040x}").operation
    assert (store.steps(dropped), store.thread(dropped, SLACK)) == ([], None)
    assert store.thread(kept[0].operation, SLACK) == ("C1", "5")
    assert len(store.audit_rows(limit=100)) == 9
    assert store.has_deployed("production")
    assert [codec.decode(row.payload, Notice).sentence for row in store.due(SLACK, START, limit=10)] == ["5"]
    counts = {
        table: store._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("health_status", "outbox")
    }
    assert counts == {"health_status": 4, "outbox": 3}
