"""Tokens as the database remembers them: by digest alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.model.rights import RoleGrant
from reconciler.store import Store

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
GRANTS = (RoleGrant("operator", ("production",), ("api",)),)


class Clock:
    now = NOW


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Store:
    return Store(tmp_path / "ugs.db", now=lambda: clock.now)


def test_a_token_is_known_by_itself_and_kept_nowhere(store: Store, tmp_path: Path) -> None:
    made = store.keep_token("ci", "ugs_secret", GRANTS, by="ada", expires_at=None)
    found = store.token_of("ugs_secret")
    assert found is not None
    assert (found.id, found.name, found.grants) == (made.id, "ci", GRANTS)
    assert store.token_of("ugs_other") is None
    for file in tmp_path.iterdir():
        assert b"ugs_secret" not in file.read_bytes()
    [row] = store.audit_rows(limit=10)
    assert (row.event, row.actor) == ("token-made", "ada")
    assert row.detail == "token 1 for ci: operator of production/api"


def test_a_token_ends_at_its_instant(store: Store, clock: Clock) -> None:
    end = NOW + timedelta(hours=1)
    number = store.keep_token("ci", "t", GRANTS, by="ada", expires_at=end).id
    clock.now = end - timedelta(microseconds=1)
    assert store.token_of("t")
    assert store.token_stands(number)
    clock.now = end
    assert store.token_of("t") is None
    assert not store.token_stands(number)
    assert [one.id for one in store.tokens()] == [number], "an expired one is still listed"


def test_a_revoked_token_is_good_for_nothing_and_its_end_is_audited(store: Store) -> None:
    number = store.keep_token("ci", "t", GRANTS, by="ada", expires_at=None).id
    gone = store.revoke_token(number, by="bob")
    assert gone is not None
    assert store.token_of("t") is None
    assert not store.token_stands(number)
    assert store.tokens() == []
    assert store.revoke_token(number, by="bob") is None
    assert [row.event for row in store.audit_rows(limit=10)] == ["token-revoked", "token-made"]


def test_when_it_was_used_is_known_to_the_minute(store: Store, clock: Clock) -> None:
    store.keep_token("ci", "t", GRANTS, by="ada", expires_at=None)
    assert store.tokens()[0].used_at is None
    for second, known in ((0, 0), (59, 0), (60, 60), (61, 60)):
        clock.now = NOW + timedelta(seconds=second)
        assert store.token_of("t")
        assert store.tokens()[0].used_at == NOW + timedelta(seconds=known)
