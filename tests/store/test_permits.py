"""Holds, approvals and overrides on record: what is in force, what the audit says, and an older database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.model.permits import Approval, Ask, Hold, Override, Permits
from reconciler.store import Store, schema
from tests.store.builders import START, HandClock

HOUR = timedelta(hours=1)
ASK = Ask("production", "api", "1.0.0@000000000000", "2.0.0@222222222222", ("2.0.0",), "a" * 40)


def held(store: Store, service: str | None = None, *, hours: int | None = None) -> Hold:
    until = None if hours is None else store._now() + hours * HOUR
    return store.hold("production", service, reason="database move", owner="ada", until=until)


def overridden(store: Store, by: str = "ada") -> Override:
    return store.override(
        "production", "api", gate="window", reason="orders are lost", by=by, until=store._now() + HOUR
    )


def audited(store: Store) -> list[tuple[str, str, str, str]]:
    """The audit, oldest first; it must be whole."""
    assert store.verify_audit() is None
    rows = reversed(store.audit_rows(limit=100))
    return [(row.event, row.service, row.actor, row.detail) for row in rows]


def test_nothing_was_said_of_a_new_environment(store: Store) -> None:
    assert store.permits("production") == Permits()


def test_a_hold_is_in_force_until_it_is_released(store: Store, clock: HandClock) -> None:
    made = held(store)
    assert made == Hold(1, "production", None, "database move", "ada", START, None)
    assert store.permits("production").holds == (made,)
    assert store.permits("staging") == Permits()
    clock.move(86_400 * 400)
    assert store.permits("production").holds == (made,)

    assert store.release_hold(made.id, by="bob") == made
    assert store.permits("production") == Permits()
    assert store.release_hold(made.id, by="bob") is None
    assert audited(store) == [
        ("held", "", "ada", "1: until released: database move"),
        ("hold-released", "", "bob", "1: held by ada: database move"),
    ]


def test_a_hold_ends_by_itself_and_then_cannot_be_released(store: Store, clock: HandClock) -> None:
    made = held(store, "api", hours=1)
    clock.move(3599)
    assert store.permits("production").holds == (made,)
    clock.move(1)
    assert store.permits("production") == Permits()
    assert store.release_hold(made.id, by="bob") is None
    assert [event for event, *_ in audited(store)] == ["held"]


def test_an_approval_counts_until_it_is_withdrawn(store: Store) -> None:
    made = store.approve(ASK, by="ada", until=START + HOUR)
    assert made == Approval(1, ASK, "ada", START, START + HOUR)
    assert store.permits("production").approvals == (made,)
    assert store.withdraw_approval(made.id, by="bob") == made
    assert store.permits("production") == Permits()
    assert store.withdraw_approval(made.id, by="bob") is None
    what = (
        f"1: by ada until 2026-11-22T11:00:00.000000+00:00: {ASK.from_target} → {ASK.to_target} by {'a' * 40}"
    )
    assert audited(store) == [
        ("approved", "api", "ada", what),
        ("approval-withdrawn", "api", "bob", what),
    ]


def test_an_approval_of_a_first_deployment_comes_from_nothing(store: Store) -> None:
    first = Ask("production", "api", None, "1.0.0@000000000000", ("1.0.0",), "a" * 40)
    assert store.approve(first, by="ada", until=START + HOUR).ask == first
    assert store.permits("production").approvals[0].ask == first
    assert "nothing → 1.0.0@000000000000" in audited(store)[0][3]


def test_an_approval_that_expired_is_shown_for_a_while_and_cannot_be_withdrawn(
    store: Store, clock: HandClock
) -> None:
    made = store.approve(ASK, by="ada", until=START + HOUR)
    clock.move(3600)
    assert store.withdraw_approval(made.id, by="ada") is None
    clock.move(86_400 * 30 - 1)
    assert store.permits("production").approvals == (made,)
    clock.move(1)
    assert store.permits("production") == Permits()


def test_an_override_stays_an_open_question_after_its_end(store: Store, clock: HandClock) -> None:
    made = overridden(store)
    assert made == Override(
        1, "production", "api", "window", "orders are lost", "ada", START, START + HOUR, None
    )
    clock.move(86_400)
    assert store.permits("production").overrides == (made,)

    confirmed = store.confirm_override(made.id, by="bob")
    assert confirmed is not None
    assert confirmed.confirmed_by == "bob"
    assert store.permits("production") == Permits()
    assert store.confirm_override(made.id, by="bob") is None
    assert audited(store) == [
        (
            "overridden",
            "api",
            "ada",
            "1: window until 2026-11-22T11:00:00.000000+00:00: orders are lost",
        ),
        ("override-confirmed", "api", "bob", "1: window, by ada: orders are lost"),
    ]


def test_an_override_that_is_confirmed_lasts_until_its_end(store: Store, clock: HandClock) -> None:
    made = overridden(store)
    store.confirm_override(made.id, by="bob")
    [still] = store.permits("production").overrides
    assert still.confirmed_by == "bob"
    clock.move(3600)
    assert store.permits("production") == Permits()


SAYINGS: list[Callable[[Store], object]] = [
    held,
    lambda store: store.release_hold(1, by="bob"),
    lambda store: store.approve(ASK, by="eve", until=START + HOUR),
    lambda store: store.withdraw_approval(1, by="bob"),
    overridden,
    lambda store: store.confirm_override(1, by="bob"),
]


@pytest.mark.parametrize("say", SAYINGS)
def test_what_cannot_be_audited_was_not_said(
    store: Store, monkeypatch: pytest.MonkeyPatch, say: Callable[[Store], object]
) -> None:
    held(store)
    store.approve(ASK, by="ada", until=START + HOUR)
    overridden(store)
    before = store.permits("production"), audited(store)

    def no_audit(*_values: object, **_named: object) -> None:
        raise OSError("the audit is gone")

    with monkeypatch.context() as broken:
        broken.setattr(store, "audit", no_audit)
        with pytest.raises(OSError, match="gone"):
            say(store)
    assert (store.permits("production"), audited(store)) == before


def test_numbers_are_never_given_twice(store: Store, clock: HandClock) -> None:
    for _ in range(3):
        store.release_hold(held(store).id, by="ada")
    store.forget_permits(kept_max=0)
    assert held(store).id == 4


def test_pruning_drops_the_oldest_of_what_has_ended_and_nothing_else(store: Store, clock: HandClock) -> None:
    kept = held(store), store.approve(ASK, by="ada", until=START + 48 * HOUR), overridden(store)
    for _ in range(5):
        held(store, hours=1)
        store.approve(ASK, by="bob", until=store._now() + HOUR)
        store.confirm_override(overridden(store, "bob").id, by="ada")
    clock.move(3600)
    store.prune(permits_max=2)
    now = store.permits("production")
    assert now.holds == (kept[0],)
    assert now.approvals[0] == kept[1]
    assert now.overrides == (kept[2],)
    counts = [
        store._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("holds", "approvals", "overrides")
    ]
    assert counts == [3, 3, 3]
    assert len(store.audit_rows(limit=100)) == 3 + 5 * 4


def test_a_database_of_the_first_schema_takes_permits_and_keeps_what_it_had(
    path: Path, clock: HandClock
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.executescript(
            f"{schema.MIGRATIONS[0]}; PRAGMA user_version = 1; INSERT INTO marks VALUES ('was', 'here')"
        )
    with closing(Store(path, now=clock.now)) as store:
        assert store.marks("") == {"was": "here"}
        made = held(store)
    with closing(Store(path, now=clock.now, read_only=True)) as reader:
        assert reader.permits("production").holds == (made,)
    with closing(sqlite3.connect(path.with_name("ugs.db.v1"))) as copy:
        tables = {row[0] for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert "marks" in tables
    assert "holds" not in tables
