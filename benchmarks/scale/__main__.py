"""`python -m benchmarks.scale 1000 10000`: the table for so many pins each; with --json every figure."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from msgspec import to_builtins

from benchmarks.scale import read, rest, small
from benchmarks.scale.generate import Size, sized
from benchmarks.scale.row import Row, table

FILES = 100_000
MANIFESTS = 10_000


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {memory} GiB, {system}"


def measured(pins: list[int]) -> list[Row]:
    made: list[Callable[[Path], list[Row]]] = [small.rows]
    for count in pins:
        size = sized(count)
        made += [
            lambda folder, size=size: read.rows(size, folder),  # type: ignore[misc]  # bound now
            lambda folder, size=size: rest.rows(size, folder),  # type: ignore[misc]
        ]
    made += [
        lambda folder: read.check_rows(Size(10, 100, MANIFESTS // 10, versions=10), folder),
        lambda folder: small.revert_rows(Size(1, 5, 9), folder),
        lambda folder: small.revert_rows(Size(1, 5, 9, unrelated=FILES), folder),
    ]
    found: list[Row] = []
    for part in made:
        with tempfile.TemporaryDirectory() as folder:
            found += part(Path(folder))
    return found


def main() -> None:
    pins = [int(word) for word in sys.argv[1:] if word.isdigit()] or [1_000, 10_000]
    rows = measured(pins)
    if "--json" in sys.argv:
        print(json.dumps({"machine": machine(), "rows": to_builtins(rows)}, indent=2))
        return
    print(f"{machine()}\n{table(rows)}")


main()
