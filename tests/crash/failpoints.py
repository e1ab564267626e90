"""Every failpoint that the engine has, read from its source, and those that tests with a case for each name.

A failpoint is named where it stands, or by whoever calls the three functions that have some around what they do.
What differs from one release to the next is `*`.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from reconciler.model.upgrade import NEXT

ROOT = Path(__file__).resolve().parent.parent.parent
ENGINE = ROOT / "reconciler" / "engine"
DIFFERS = re.compile(r"^(apply|before|after|undo|check):[^:]+(?=:)")
OTHERS = {"verdict", "sentence", "asyncio", "command"}
"""What has a `step` or a `run` of another kind."""
KILLED_BY_NAME = ("killed", "killed_leaving", "killed_together", "killed_measuring", "data_killed")
"""Of tests/scenarios, what kills at each failpoint of a list."""

BY_CALLERS = ()
MIGRATION = ("before:*", "after:*", "undo:*")
SAID: dict[tuple[str, str], tuple[str, ...]] = {
    ("core.py", "f'{name}:begun'"): BY_CALLERS,
    ("core.py", "f'{name}:done'"): BY_CALLERS,
    ("core.py", "f'phase:{moved.phase.value}'"): tuple(
        f"phase:{phase}" for phase in sorted(set().union(*NEXT.values()))
    ),
    ("revert.py", "f'{step}:begun'"): BY_CALLERS,
    ("revert.py", "f'{step}:done'"): BY_CALLERS,
    ("commands.py", "f'{step}:begun'"): BY_CALLERS,
    ("commands.py", "f'{step}:done'"): BY_CALLERS,
    ("upgrade.py", "batch.step"): ("apply", "apply:*"),
    ("backups.py", "step"): ("backup", "rescue"),
    ("backups.py", "BRING_BACK"): ("restore-data",),
    ("migrations.py", "step"): (*MIGRATION, "check:*"),
}
"""What a name can be that is worked out: by file and expression. Whoever adds one says so here."""


def shown(name: str) -> str:
    """A failpoint as it is counted."""
    return DIFFERS.sub(r"\1:*", name)


def of_source() -> set[str]:
    """All that the engine has."""
    found: set[str] = set()
    for _, expression, sides in expressions():
        found |= {f"{name}{side}" for name in expression for side in sides}
    return found


def unsaid() -> set[tuple[str, str]]:
    """Names that are worked out, and of which nobody says what they can be."""
    return {key for key in _worked_out() if key not in SAID}


def outlived() -> set[tuple[str, str]]:
    """What is said of names that are no more."""
    return SAID.keys() - set(_worked_out())


def expressions() -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """(file, what its name can be, what is appended to that) of every failpoint."""
    for path, node, sides in _named():
        if isinstance(node, ast.Constant):
            yield path.name, (str(node.value),), sides
        else:
            yield path.name, SAID.get((path.name, ast.unparse(node)), ()), sides


def _worked_out() -> Iterator[tuple[str, str]]:
    for path, node, _ in _named():
        if not isinstance(node, ast.Constant):
            yield path.name, ast.unparse(node)


def _named() -> Iterator[tuple[Path, ast.expr, tuple[str, ...]]]:
    for path in sorted(ENGINE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield from ((path, *named) for named in _names_of(node))


def _names_of(call: ast.Call) -> Iterator[tuple[ast.expr, tuple[str, ...]]]:
    around = (":begun", ":done")
    match call:
        case ast.Call(func=ast.Attribute(attr="failpoint"), args=[name]):
            yield name, ("",)
        case ast.Call(func=ast.Attribute(value=owner, attr="step"), args=[_, name, *_]) if _ours(owner):
            yield name, around
        case ast.Call(func=ast.Attribute(value=owner, attr="run"), args=[name, _, *_]) if _ours(owner):
            yield name, around
        case ast.Call(func=ast.Name("deliver"), args=[_, _, name]):
            yield name, around
        case ast.Call(args=[ast.Name("deliver"), _, _, name]):
            yield name, around


def _ours(owner: ast.expr) -> bool:
    return ast.unparse(owner) not in OTHERS


def killed_by_name() -> set[str]:
    """The failpoints that tests of their own kill at, one after the other."""
    found: set[str] = set()
    for name in KILLED_BY_NAME:
        module = importlib.import_module(f"tests.scenarios.test_{name}")
        for test in vars(module).values():
            for mark in getattr(test, "pytestmark", ()):
                if mark.name == "parametrize" and mark.args[0] == "failpoint":
                    found |= {str(getattr(one, "values", (one,))[0]) for one in mark.args[1]}
    return {shown(name.format("x")) for name in found}
