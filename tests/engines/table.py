"""The table of docs/drivers/README.md: every scenario of the suite, and the drivers that it is told on."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest

from tests.engines import KINDS, test_suite

PAGE = Path(__file__).parents[2] / "docs/drivers/README.md"
BEGIN, END = "<!-- scenarios -->\n", "<!-- /scenarios -->"


def scenarios() -> dict[str, frozenset[str]]:
    """By the name of each test, in the order of the suite: the kinds that it is told on."""
    found = {}
    for name, test in inspect.getmembers_static(test_suite, inspect.isfunction):
        if name.startswith("test_"):
            marks: list[pytest.Mark] = vars(test)["pytestmark"]
            [mark] = [mark for mark in marks if mark.args[0] == "engine"]
            found[name] = test.__code__.co_firstlineno, frozenset(mark.args[1])
    return {name: kinds for name, (_, kinds) in sorted(found.items(), key=lambda item: item[1][0])}


def told_on() -> str:
    rows = [("`tests/engines/test_suite.py`", *(f"`{kind}`" for kind in KINDS)), ("---",) * (len(KINDS) + 1)]
    for name, kinds in scenarios().items():
        words = name.removeprefix("test_").replace("_", " ")
        rows.append((words, *("yes" if kind in kinds else "no" for kind in KINDS)))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> int:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{told_on()}{END}{rest.partition(END)[2]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
