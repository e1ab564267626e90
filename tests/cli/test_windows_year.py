"""`ugs windows --year`: twelve months of letters."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from reconciler.cli import almanac, windows
from reconciler.model.year import year_of
from tests.cli.calendars import PRODUCTION, asked, planted, run
from tests.test_docs import json_shapes


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return planted(tmp_path)


def test_a_year_in_a_pipe_is_twelve_months_of_letters(tree: Path) -> None:
    lines = run("production", "--repository", str(tree), "--year", "2026").stdout.splitlines()
    assert lines[0] == "production 2026 (Europe/Berlin)"
    assert [name in "\n".join(lines) for name in almanac.MONTHS] == [True] * 12
    assert all(len(line) <= almanac.PIPE_WIDTH for line in lines)
    december = lines.index(next(line for line in lines if "December" in line))
    column = lines[december].index("December")
    weeks = [line[column:].rstrip() for line in lines[december + 1 : december + 7]]
    assert weeks == [
        "Mo   Tu   We   Th   Fr   Sa   Su",
        "      1p   2p   3p   4p#  5m   6",
        " 7p   8p   9p  10p  11p# 12   13",
        "14p  15p  16p  17p  18p# 19   20#",
        "21#  22#  23#  24#  25#  26#  27#",
        "28#  29#  30#  31#",
    ]
    assert lines[-1] == "At some time of the day: m minor, p patch, # frozen"


def test_this_year_is_the_default(tree: Path) -> None:
    shown = run("production", "--repository", str(tree), "--year").stdout
    assert shown == run("production", "--repository", str(tree), "--year", "2026").stdout
    later = run("production", "--repository", str(tree), "--at", "2028-05-05T00:00:00Z", "--year")
    assert later.stdout.startswith("production 2028 ")


def test_several_years_are_told_one_after_the_other(tree: Path) -> None:
    shown = run("--repository", str(tree), "--year").stdout
    assert "\n\nstaging 2026 (UTC)\n" in shown
    assert shown.endswith("\nNothing opens or is frozen\n")


def test_a_year_for_machines(tree: Path) -> None:
    answer = asked(tree, "production", "--year", "2026")
    days = {one["date"]: one for one in answer["environments"][0]["days"]}
    assert days["2026-12-05"] == {"date": "2026-12-05", "open": ["minor"], "frozen": []}
    assert days["2026-12-24"] == {"date": "2026-12-24", "open": [], "frozen": ["year end"]}
    shape = json_shapes()["windows year"]["environments"][0]
    assert set(shape) == set(answer["environments"][0])
    assert set(shape["days"][0]) == set(days["2026-12-05"])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_a_year_has_colours_and_its_width(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    almanac.print_year(year_of(windows.environment_at(tree / "environments/production.yaml"), 2026))
    shown = screen.getvalue()
    assert "\x1b[1;32m 1p \x1b[0m" in shown
    assert "\x1b[31m24# \x1b[0m" in shown
    assert [line for line in shown.splitlines() if "January" in line and "February" in line] == []


def test_a_year_that_no_calendar_is_kept_for_is_refused(tree: Path) -> None:
    for year in ("1999", "2200", "0x7e2"):
        result = run("production", "--repository", str(tree), "--year", year)
        assert result.exit_code == 2
        assert "--year" in result.output


def test_what_opens_too_often_is_named_in_a_year(tree: Path) -> None:
    often = PRODUCTION.replace("0 9 * * 1-5", "*/2 * * * *").replace("7h", "1m")
    (tree / "environments/production.yaml").write_text(often)
    shown = run("production", "--repository", str(tree), "--year").stdout
    assert shown.endswith("Too often to be shown: patch\n")
