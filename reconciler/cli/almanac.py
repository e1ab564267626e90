"""A year of windows as twelve months of text: days with the letters of what can start on them."""

from __future__ import annotations

import calendar
import sys

import click

from reconciler.model.environment import ChangeClass
from reconciler.model.year import Day, Year

LETTERS: dict[ChangeClass, str] = {
    "major": "M",
    "minor": "m",
    "patch": "p",
    "config": "c",
    "emergency": "e",
    "initial": "i",
    "rollback": "b",
    "removal": "r",
}
FROZEN = "#"
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
WEEKDAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
PIPE_WIDTH = 100
BETWEEN = "   "

Segment = tuple[str, str]
"""Text, and how a terminal shows it."""


def print_year(year: Year) -> None:
    """Letters and marks in a pipe; the same with colours in a terminal, as many months abreast as it is wide."""
    if not sys.stdout.isatty():
        for line in lines(year, PIPE_WIDTH):
            click.echo("".join(text for text, _ in line).rstrip())
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for line in lines(year, console.width):
        console.print(Text.assemble(*line), no_wrap=True, crop=True)


def lines(year: Year, width: int) -> list[list[Segment]]:
    """The calendar, months abreast, and what its letters mean."""
    days = {(day.date.month, day.date.day): day for day in year.days}
    room = max((len(_marks(day)) for day in year.days), default=0)
    month_width = 7 * (2 + room) + 6
    abreast = next(n for n in (4, 3, 2, 1) if n == 1 or n * (month_width + len(BETWEEN)) <= width)
    shown: list[list[Segment]] = []
    for first in range(1, 13, abreast):
        blocks = [_month(year.year, month, days, room) for month in range(first, first + abreast)]
        rows = zip(*blocks, strict=True)
        shown += [[segment for block in row for segment in (*block, (BETWEEN, ""))] for row in rows]
        shown.append([])
    names = [name for name in LETTERS if any(name in day.open for day in year.days)]
    keys = [f"{LETTERS[name]} {name}" for name in names]
    keys += [f"{FROZEN} frozen"] if any(day.frozen for day in year.days) else []
    shown.append(
        [(f"At some time of the day: {', '.join(keys)}" if keys else "Nothing opens or is frozen", "")]
    )
    if year.unlisted:
        shown.append([(f"Too often to be shown: {', '.join(year.unlisted)}", "")])
    return shown


def _month(year: int, month: int, days: dict[tuple[int, int], Day], room: int) -> list[list[Segment]]:
    """A title, the weekdays, and six weeks, all of one width."""
    title = MONTHS[month - 1].ljust(7 * (2 + room) + 6)
    weekdays = [(name.ljust(2 + room), "dim") for name in WEEKDAYS]
    weeks = calendar.Calendar().monthdayscalendar(year, month)
    weeks += [[0] * 7] * (6 - len(weeks))
    cells = [[_cell(number, days.get((month, number)), room) for number in week] for week in weeks]
    return [[(title, "bold")], *map(_spaced, [weekdays, *cells])]


def _cell(number: int, day: Day | None, room: int) -> Segment:
    if not number:
        return " " * (2 + room), ""
    if day is None:
        return f"{number:2}".ljust(2 + room), "dim"
    style = "bold green" if day.open and not day.frozen else "yellow" if day.open else "red"
    return f"{number:2}{_marks(day)}".ljust(2 + room), style


def _marks(day: Day) -> str:
    return "".join(LETTERS[name] for name in LETTERS if name in day.open) + (FROZEN if day.frozen else "")


def _spaced(cells: list[Segment]) -> list[Segment]:
    return [segment for cell in cells for segment in (cell, (" ", ""))][:-1]
