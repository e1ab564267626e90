"""The tables of docs/drivers/README.md: every scenario of the suite with the drivers that it is told on, and for each
thing that a driver can do the test that shows it. `python -m tests.engines.table` writes them anew."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

import pytest

from reconciler.model.engines import ENGINES
from tests.engines import KINDS, test_suite

TESTS = Path(__file__).parents[1]
BY_SUITE = {
    "stop-start": "what_is_pinned_runs",
    "rolling": "a_rolling_update",
    "canary": "a_canary_goes",
    "measures": "what_an_instance_uses",
}
"""What a driver can do that a scenario of the suite shows, by how its name begins. The rest is marked with `shows`."""
SHOWN_BEGIN, SHOWN_END = "<!-- shown -->\n", "<!-- /shown -->"
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


def abilities() -> set[tuple[str, str]]:
    """(driver, what it can do), as `model/engines.py` has it."""
    strategies = {(kind, strategy) for kind in KINDS for strategy in ENGINES[kind].strategies}
    commands = {(kind, "commands") for kind in KINDS if ENGINES[kind].commands}
    return strategies | commands | {(kind, "measures") for kind in KINDS if ENGINES[kind].measures}


def shown() -> dict[tuple[str, str], str]:
    """By (driver, what it can do): the test that shows it, as `file::name`."""
    found = dict[tuple[str, str], str]()
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for kind, what in _marks(node):
                    found[kind, what] = f"{path.relative_to(TESTS.parent)}::{node.name}"
    for what, begins in BY_SUITE.items():
        for name, kinds in scenarios().items():
            if name.removeprefix("test_").startswith(begins):
                suite = f"tests/engines/test_suite.py::{name}"
                found |= {(kind, what): suite for kind in kinds if (kind, what) in abilities()}
    return found


def _marks(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[tuple[str, str]]:
    return [
        (str(ast.literal_eval(mark.args[0])), str(ast.literal_eval(mark.args[1])))
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.shows"
    ]


def shown_by() -> str:
    rows = ["| Driver | Can | Shown by |", "|---|---|---|"]
    order = {kind: number for number, kind in enumerate(map(str, KINDS))}
    for (kind, what), test in sorted(shown().items(), key=lambda one: (order[one[0][0]], one[0][1])):
        rows.append(f"| `{kind}` | {what} | `{test}` |")
    return "".join(f"{row}\n" for row in rows)


def main() -> int:
    text = PAGE.read_text()
    for begin, table, end in ((BEGIN, told_on(), END), (SHOWN_BEGIN, shown_by(), SHOWN_END)):
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{table}{end}{rest.partition(end)[2]}"
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
