"""Sessions of browsers: how long they stand, and with what they end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.model.rights import RoleGrant
from reconciler.store import Store, sessions
from tests.store.builders import START, HandClock

GRANTS = (RoleGrant("operator", ("production",), ("api", "web-*")),)
HOUR = timedelta(hours=1)


def begun(store: Store, cookie: str, *, token: int | None = None, hours: int = 1) -> int:
    return store.begin_session("ada", cookie, GRANTS, token=token, ends_at=START + hours * HOUR).id


def test_a_session_is_known_by_its_cookie_until_it_ends(store: Store, clock: HandClock) -> None:
    number = begun(store, "secret")
    found = store.session_of("secret")
    assert found is not None
    assert (found.id, found.name, found.grants, found.ends_at) == (number, "ada", GRANTS, START + HOUR)
    assert store.session_of("Secret") is None
    clock.move(3599)
    assert store.session_stands(number)
    clock.move(1)
    assert not store.session_stands(number)
    assert store.session_of("secret") is None


def test_the_cookie_itself_is_nowhere(store: Store) -> None:
    begun(store, "very-secret")
    assert b"very-secret" not in store.path.read_bytes()
    assert "very-secret" not in str(store.audit_rows(limit=10))


def test_who_signs_out_is_in_the_audit_once(store: Store) -> None:
    number = begun(store, "secret")
    store.end_session(number)
    store.end_session(number)
    assert store.session_of("secret") is None
    assert [(row.event, row.actor) for row in store.audit_rows(limit=10)] == [
        ("signed-out", "ada"),
        ("signed-in", "ada"),
    ]


def test_a_session_ends_with_its_token(store: Store, clock: HandClock) -> None:
    short = store.keep_token("ada", "t1", GRANTS, by="root", expires_at=START + timedelta(minutes=1))
    long = store.keep_token("ada", "t2", GRANTS, by="root", expires_at=None)
    sessions_ = [begun(store, "a", token=short.id), begun(store, "b", token=long.id), begun(store, "c")]
    clock.move(60)
    assert [store.session_stands(one) for one in sessions_] == [False, True, True]
    store.revoke_token(long.id, by="root")
    assert [store.session_stands(one) for one in sessions_] == [False, False, True]


def test_there_are_so_many_at_most(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 2)
    numbers = [begun(store, f"c{index}") for index in range(3)]
    assert [store.session_stands(number) for number in numbers] == [False, True, True]
