"""Pages of the past: together they are all of it, each row once, whatever comes in while somebody reads."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis.strategies import integers, lists

from reconciler.model.environment import ChangeClass
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.store import Mark, Past, Store, pages
from reconciler.store.values import text_of

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)


def upgrade(number: int, minute: int, *, kind: ChangeClass = "minor") -> Upgrade:
    at = BEGAN + timedelta(minutes=minute)
    return Upgrade(
        operation=f"{number:016x}",
        environment="production" if number % 2 else "staging",
        service="api",
        change_class=kind,
        revision="0" * 40,
        attempt=1,
        phase=Phase.SUCCEEDED,
        before=None,
        after=None,
        running=None,
        created_at=at,
        changed_at=at,
        ended_at=at,
    )


def a_store(folder: str) -> Store:
    return Store(Path(folder) / "ugs.db", now=lambda: BEGAN)


@settings(max_examples=25, deadline=None)
@given(
    minutes=lists(integers(0, 5), max_size=12),  # many of one instant
    limit=integers(1, 5),
    late=lists(integers(6, 9), max_size=3),
)
def test_pages_of_upgrades_are_all_of_them_once_in_order(
    minutes: list[int], limit: int, late: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = a_store(folder)
        for number, minute in enumerate(minutes):
            store.record(upgrade(number, minute), event="succeeded")
        wanted = [one.operation for one in store.upgrades(limit=100)]
        found: list[str] = []
        mark: Mark | None = None
        for turn in range(100):
            page, mark = store.history(Past(), mark, limit=limit, seen=lambda _: True)
            found += [one.operation for one in page]
            if turn < len(late):  # newer ones come in, and push nothing about
                store.record(upgrade(1000 + turn, late[turn]), event="succeeded")
            if mark is None:
                break
        store.close()
        assert found == wanted


@settings(max_examples=25, deadline=None)
@given(rows=integers(0, 12), limit=integers(1, 5))
def test_pages_of_the_audit_are_all_of_it_once_in_order(rows: int, limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = a_store(folder)
        for number in range(rows):
            store.audit("accepted", detail=str(number))
        wanted = [row.id for row in store.audit_rows(limit=100)]
        found: list[int] = []
        mark: Mark | None = None
        for _ in range(100):
            page, mark = store.audit_page(Past(), mark, limit=limit, seen=lambda _: True)
            found += [row.id for row in page]
            store.audit("accepted", detail="late")
            if mark is None:
                break
        store.close()
        assert found == wanted


def test_what_is_asked_for_and_seen_alone_is_shown(tmp_path: Path) -> None:
    store = a_store(str(tmp_path))
    for number in range(6):
        store.record(upgrade(number, number, kind="major" if number < 3 else "minor"), event="succeeded")
    every = Past(environment="production", change_class="major")
    assert [one.operation[-1] for one in store.history(every, None, limit=9, seen=lambda _: True)[0]] == ["1"]
    since = Past(since=text_of(BEGAN + timedelta(minutes=2)), until=text_of(BEGAN + timedelta(minutes=4)))
    shown = store.history(since, None, limit=9, seen=lambda _: True)[0]
    assert [one.operation[-1] for one in shown] == ["3", "2"]
    only = store.history(Past(), None, limit=9, seen=lambda one: one.environment == "staging")[0]
    assert [one.operation[-1] for one in only] == ["4", "2", "0"]
    store.audit("denied", actor="Mallory", detail="POST /sync")
    [row] = store.audit_page(Past(text="mallory"), None, limit=9, seen=lambda _: True)[0]
    assert (row.event, row.actor) == ("denied", "Mallory")
    assert store.audit_page(Past(event="denied", actor="eve"), None, limit=9, seen=lambda _: True)[0] == []
    assert store.audit_page(Past(), None, limit=9, seen=lambda _: False) == ([], None)
    store.close()


def test_a_page_that_finds_nothing_for_long_leads_on(tmp_path: Path) -> None:
    store = a_store(str(tmp_path))
    was, pages.LOOKED_MAX = pages.LOOKED_MAX, 3
    try:
        for number in range(7):
            store.record(upgrade(number, number), event="succeeded")
        page, mark = store.history(Past(), None, limit=5, seen=lambda one: one.operation.endswith("0"))
        assert page == []
        assert mark is not None
        page, mark = store.history(Past(), mark, limit=5, seen=lambda one: one.operation.endswith("0"))
        assert (page, mark is not None) == ([], True)
        page, mark = store.history(Past(), mark, limit=5, seen=lambda one: one.operation.endswith("0"))
        assert [one.operation for one in page] == ["0" * 16]
        rows, more = store.audit_page(Past(), None, limit=5, seen=lambda _: False)
        assert (rows, more is not None) == ([], True)
    finally:
        pages.LOOKED_MAX = was
        store.close()
