"""When notices are gathered, and when what was gathered is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.model.cron import Disagreement
from reconciler.model.digest import Digest
from reconciler.model.environment import Window

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NIGHTS = Digest(hours=(Window("0 22 * * *", 9 * 3600.0),), timezone="Europe/Berlin")


def test_noisy_is_more_than_so_many() -> None:
    digest = Digest(over=20)
    assert [digest.gathers(told, NOON) for told in (0, 20, 21)] == [False, False, True]
    assert digest.since(NOON) == NOON - timedelta(minutes=10)


@pytest.mark.parametrize(
    ("hour", "gathers"), [(20, False), (21, True), (23, True), (5, True), (6, False), (12, False)]
)
def test_hours_are_those_of_their_zone(hour: int, gathers: bool) -> None:
    assert NIGHTS.gathers(0, NOON.replace(hour=hour)) is gathers


def test_what_is_gathered_is_told_at_the_next_quarter() -> None:
    digest = Digest(over=1)
    assert digest.next_at(NOON) == NOON + timedelta(minutes=15)
    assert digest.next_at(NOON + timedelta(minutes=14, seconds=59)) == NOON + timedelta(minutes=15)
    assert digest.next_at(NOON + timedelta(minutes=15)) == NOON + timedelta(minutes=30)


def test_where_the_calendar_is_in_doubt_nothing_is_kept_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubtful(*_: object, **__: object) -> None:
        raise Disagreement("cron")

    monkeypatch.setattr("reconciler.model.digest.current", doubtful)
    assert NIGHTS.hours
    assert not NIGHTS.gathers(1_000, NOON)
