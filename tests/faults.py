"""The catalogue of faults and the tests that inject them: docs/reliability.md's tables are written from both.

`python -m tests.faults` (`make faults`) writes them anew.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct, convert
from ruamel.yaml import YAML

from tests.simulation.faults import FAULTS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- written by `make faults` -->", "<!-- end of what `make faults` writes -->"


class Fault(Struct, frozen=True):
    """`uncovered`: why no test injects it."""

    id: str
    area: str
    fault: str
    outcome: str
    uncovered: str = ""


class Catalogue(Struct, frozen=True):
    areas: dict[str, str]
    faults: tuple[Fault, ...]


class Test(Struct, frozen=True, order=True):
    """A test function and where it stands."""

    file: str
    name: str


def catalogue() -> Catalogue:
    return convert(YAML(typ="safe").load(ROOT / "tests" / "faults.yaml"), Catalogue)


def injected() -> dict[str, list[Test]]:
    """By fault: the tests that are marked with it, in order."""
    found: dict[str, set[Test]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, fault in _marks(ast.parse(path.read_text())):
            found.setdefault(fault, set()).add(Test(str(path.relative_to(ROOT)), name))
    return {fault: sorted(tests) for fault, tests in found.items()}


def simulated() -> dict[str, list[str]]:
    """By fault: what the simulation calls the faults of its own that stand for it."""
    found: dict[str, list[str]] = {}
    for fault in FAULTS:
        for known in fault.ids:
            found.setdefault(known, []).append(fault.name)
    return found


def _marks(module: ast.Module) -> Iterator[tuple[str, str]]:
    """(test, fault) for every mark on a test, or on one of its parameters."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                for call in ast.walk(decorator):
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault":
                        for argument in call.args:
                            yield node.name, ast.literal_eval(argument)


def tables(known: Catalogue, tests: Mapping[str, list[Test]], stories: Mapping[str, list[str]]) -> str:
    """What the page says of every fault: one table an area, and how many there are."""
    covered = sum(1 for fault in known.faults if fault.id in tests or fault.id in stories)
    each = len({test for some in tests.values() for test in some})
    out = [
        f"{covered} of {len(known.faults)} faults are injected, by {each} tests and by the simulation; "
        f"{len(known.faults) - covered} are not covered, each with its reason."
    ]
    for area, title in known.areas.items():
        out += ["", f"### {title}", "", "| Fault | What is done | What must come of it | Seen in |"]
        out.append("|---|---|---|---|")
        for fault in known.faults:
            if fault.area == area:
                seen = [_link(test) for test in tests.get(fault.id, ())]
                seen += [f"simulated: `{name}`" for name in stories.get(fault.id, ())]
                where = "<br>".join(seen) or f"**not covered**: {_cell(fault.uncovered)}"
                out.append(f"| {fault.id} | {_cell(fault.fault)} | {_cell(fault.outcome)} | {where} |")
    return "\n".join(out)


def _link(test: Test) -> str:
    return f"[{test.name.removeprefix('test_').replace('_', ' ')}](../{test.file})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def page(text: str) -> str:
    """The page with its tables as they must read now."""
    before, _, rest = text.partition(BEGIN)
    return (
        f"{before}{BEGIN}\n\n{tables(catalogue(), injected(), simulated())}\n\n{END}{rest.partition(END)[2]}"
    )


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
