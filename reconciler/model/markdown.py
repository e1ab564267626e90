"""Markdown for comments on pull requests: text from the repository is shown, and never acts.

Everything that people wrote stands in code, where no forge looks for HTML, links, mentions or commands.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

CODE_CHARACTERS_MAX = 500
BLOCK_CHARACTERS_MAX = 4000
_TICKS = re.compile(r"`+")
# Runners of GitHub and Azure look for these inside a line of a log.
_RUNNER = re.compile(r"##(?=\[|vso)")


def code(text: str) -> str:
    """One line of text as a code span."""
    line = " ".join(text.split())
    line = line if len(line) <= CODE_CHARACTERS_MAX else line[: CODE_CHARACTERS_MAX - 3] + "..."
    line = inert(line)
    if not line:
        return ""
    fence = "`" * (_longest(line) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def inert(text: str) -> str:
    """Text with nothing in the middle of a line that a runner of CI jobs would obey."""
    return _RUNNER.sub("# #", text)


def quote(text: str) -> list[str]:
    """Lines of text as a quoted block of code: each starts with `>`, and none is a command to a runner."""
    text = text.strip("\n")
    if len(text) > BLOCK_CHARACTERS_MAX:
        text = text[:BLOCK_CHARACTERS_MAX] + "\n..."
    fence = "`" * max(3, _longest(text) + 1)
    lines = inert(text).splitlines()
    return [f"> {fence}text", *(f"> {line}".rstrip() for line in lines), f"> {fence}"]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table; the cells are Markdown already."""
    lines = [_row(columns), _row(["---"] * len(columns))]
    return [*lines, *map(_row, rows)]


def details(summary: str, lines: Iterable[str]) -> list[str]:
    """A section that opens on a click."""
    shown = html.escape(" ".join(summary.split()))
    return ["<details>", f"<summary><code>{shown}</code></summary>", "", *lines, "", "</details>", ""]


def _row(cells: Sequence[str]) -> str:
    # Readers do not agree on how a bar in a cell is escaped: there is none.
    return f"| {' | '.join(cell.replace('|', '¦') for cell in cells)} |"


def _longest(text: str) -> int:
    return max(map(len, _TICKS.findall(text)), default=0)
