"""Versions of programs held against their floors: series, suffixes, and what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.model.floors import FLOORS as OURS
from reconciler.model.floors import Floor, program

FLOORS = (
    Floor("git", ("2.34.0",), "cannot sign"),
    Floor("git", ("2.39.4", "2.40.2", "2.45.1"), "runs too much"),
)


@pytest.mark.fault("OP-05", "DB-12")
@pytest.mark.parametrize(
    ("version", "lacking"),
    [
        ("2.45.1", 0),
        ("2.46.0", 0),
        ("3.0", 0),
        ("2.39.4", 0),
        ("2.39.5 (Apple Git-154)", 0),
        ("2.39.5.windows.1", 0),
        ("2.39.3", 1),
        ("2.40.1", 1),
        ("2.41.9", 1),
        ("2.45.0", 1),
        ("2.34", 2),
        ("2.33.8", 2),
        ("unknown", 2),
        ("", 2),
    ],
)
def test_a_version_is_good_from_its_floor_on_or_in_its_series(version: str, lacking: int) -> None:
    assert len(program("git", version, FLOORS).lacks) == lacking


def test_what_a_program_lacks_says_why_and_what_would_do() -> None:
    assert program("git", "2.40.1", FLOORS).lacks == (
        "git 2.40.1 is older than 2.45.1 (or 2.39.4, 2.40.2 in its series): it runs too much",
    )
    assert program("SQLite", "1.0", FLOORS).lacks == ()


def test_operators_read_the_floors_that_count() -> None:
    page = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    table = page.partition("<!-- floors -->")[2].partition("<!-- /floors -->")[0]
    rows = [f"| {floor.program} | {', '.join(floor.least)} | {floor.why} |" for floor in OURS]
    assert table.splitlines()[3:] == rows
