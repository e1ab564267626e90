"""The simulation of a bad release on many hosts: what its figures in the documentation rest on."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from benchmarks.spread import HOSTS, Course, begun, places_of, row

PAGE = Path(__file__).parent.parent / "docs" / "hosts.md"
DAY_S = 86_400.0


def test_the_page_has_the_figures_of_the_simulation() -> None:
    usual, most = row(Course(DAY_S, 30.0, 300.0))
    assert f"| 24h | 30s | 5m | {usual:,} ({usual / HOSTS:.2%}) | {most:,} |" in PAGE.read_text()


@pytest.mark.parametrize("shorter", [Course(DAY_S, 30.0, 30.0), Course(7 * DAY_S, 300.0, 300.0)])
def test_longer_rollouts_and_faster_news_reach_fewer(shorter: Course) -> None:
    longer = Course(DAY_S, 300.0, 300.0)
    assert row(shorter, hosts=10_000, rollouts=5)[0] < row(longer, hosts=10_000, rollouts=5)[0]


def test_more_failures_that_are_borne_reach_more_and_a_good_release_reaches_all() -> None:
    places = places_of(10_000, "0")
    one, ten = (begun(places, Course(DAY_S, 30.0, 30.0, failures=n, ill=0.5), Random(1)) for n in (1, 10))
    assert one < ten < 10_000
    assert begun(places, Course(DAY_S, 30.0, 30.0, ill=0.0), Random(1)) == 10_000
