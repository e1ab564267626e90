"""How the verbs print: tables for people, aligned text for pipes, JSON for machines."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
WIDE = 10_000


def json_option(command: F) -> F:
    """`--json`: print the documented value instead of a table."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(command)


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show in a terminal that something long runs; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A rich table in a terminal; columns aligned by spaces, without colour, in a pipe."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(rich_table(columns, rows))
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """A quiet table: no boxes, one colour for what is not well."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    return table


STYLES = {
    "healthy": "green",
    "in-sync": "green",
    "succeeded": "green",
    "degraded": "red",
    "stuck": "red",
    "closed": "yellow",
    "reverted": "yellow",
    "restored": "yellow",
    "missing": "red",
    "out-of-sync": "yellow",
    "waiting": "yellow",
    "progressing": "cyan",
}


def when(text: str | None) -> str:
    """An RFC 3339 instant in the terminal's own zone, to the second; `-` when there is none."""
    if text is None:
        return "-"
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
