"""How many calls of Python and C the pure parts make for fixed input, held against `calls.json`.

It is what instruction counts would say, which Valgrind gives as well, in a minute for each. Where a number has changed
by more than one in a hundred, it says so. Less, or more that is worth it: `CALLS=write pytest tests/test_calls.py`, and
say why in the commit. More that nobody meant: mend the code.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import decide
from reconciler.model.desired import Resolver
from reconciler.model.snapshot import Cache, read, reread
from tests.counting import calls
from tests.model.test_reread import blobs_of, listed, nothing_older
from tests.model.test_snapshot import environment, release

KNOWN = Path(__file__).with_name("calls.json")
PYTHON = "3.11"
"""The next one counts otherwise: it has comprehensions without calls."""
SHARE_MAX = 0.01
SERVICES = 50
ENVIRONMENTS = 20


def learnt(do: Callable[[], object]) -> int:
    """The calls of what is worked out a second time: what is learned once is known."""
    do()
    return calls(do)


def counted() -> dict[str, int]:
    services = [f"s{number:02}" for number in range(SERVICES)]
    versions = "1.0.0", "1.1.0"
    tree = {f"releases/{name}/{one}.yaml": release(name, one) for name in services for one in versions}
    pins = ", ".join(f"{name}: '1.0.0'" for name in services)
    places = {f"e{number:02}": environment(f"e{number:02}", f"{{{pins}}}") for number in range(ENVIRONMENTS)}
    tree |= {f"environments/{name}.yaml": text for name, text in places.items()}
    files, load = listed(tree), blobs_of(tree).__getitem__
    whole = read("r", files.values(), load, Cache(), nothing_older)
    path = "environments/e00.yaml"
    moved = {path: tree[path].replace("s00: '1.0.0'", "s00: '1.1.0'")}
    after = blobs_of(moved).__getitem__
    bumped = reread(whole, "r2", listed(moved), after, Cache(), nothing_older)

    def resolved_anew() -> None:
        resolver = Resolver()
        resolver(whole, {})
        resolver(bumped, {})

    return {
        "read 100 manifests and 1,000 pins": learnt(
            lambda: read("r", files.values(), load, Cache(), nothing_older)
        ),
        "read one pin that moved": learnt(
            lambda: reread(whole, "r2", listed(moved), after, Cache(), nothing_older)
        ),
        "resolve 1,000 pins, and one that moved": learnt(resolved_anew),
        "plan 1,000 services with dependencies": learnt(decide.fleet().planned),
    }


def test_no_more_calls_are_made_than_was_agreed() -> None:
    if "{}.{}".format(*sys.version_info) != PYTHON:
        pytest.skip(f"the numbers are those of Python {PYTHON}")
    found = counted()
    if os.environ.get("CALLS") == "write":
        KNOWN.write_text(json.dumps(found, indent=2) + "\n")
    known = json.loads(KNOWN.read_text())
    assert found.keys() == known.keys()
    for what, number in found.items():
        assert abs(number - known[what]) <= SHARE_MAX * known[what], (
            f"{what}: {number}, and {known[what]} before"
        )
