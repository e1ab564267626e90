"""Instants and lengths as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.api.web.moment import lasting, moment, relative

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (timedelta(), "now"),
        (timedelta(seconds=-59), "59 s ago"),
        (timedelta(seconds=-60), "1 min ago"),
        (timedelta(hours=-5, minutes=-59), "5 h ago"),
        (timedelta(days=-400), "400 d ago"),
        (timedelta(seconds=30), "in 30 s"),
        (timedelta(hours=47), "in 1 d"),
    ],
)
def test_how_long_ago_or_ahead(after: timedelta, text: str) -> None:
    assert relative(NOW + after, NOW) == text


def test_an_instant_is_told_both_ways_by_the_environments_clocks() -> None:
    told = str(moment(NOW, "Europe/Berlin", now=NOW))
    assert told == (
        '<time datetime="2026-11-28T09:00:00+00:00" title="Sat 2026-11-28 10:00 CET">'
        '<span class="ago">now</span> <span class="at">Sat 11-28 10:00 CET</span></time>'
    )
    later = str(moment(NOW + timedelta(days=35), "UTC", now=NOW))
    assert '<span class="at">Sat 2027-01-02 09:00 UTC</span>' in later
    assert str(moment(None, "UTC", now=NOW)) == "-"


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (None, "-"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (timedelta(seconds=42), "42 s"),
        (250, "4 min 10 s"),
        (7_500, "2 h 5 min"),
    ],
)
def test_how_long_it_took(length: float | timedelta | None, text: str) -> None:
    assert lasting(length) == text
