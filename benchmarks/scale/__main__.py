"""`python -m benchmarks.scale 1000 10000`: the table for so many pins each; with --json every figure."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
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
    for size in map(sized, pins):
        made += [partial(read.rows, size), partial(rest.rows, size)]
    made += [
        partial(read.check_rows, Size(10, 100, MANIFESTS // 10, versions=10)),
        partial(small.revert_rows, Size(1, 5, 9)),
        partial(small.revert_rows, Size(1, 5, 9, unrelated=FILES)),
    ]
    return [row for part in made for row in alone(part)]


def alone(part: Callable[[Path], list[Row]]) -> list[Row]:
    """A part in a process of its own: memory is counted from nothing."""
    spawning = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, mp_context=spawning) as process:
        return process.submit(part, Path(folder)).result()


def main() -> None:
    pins = [int(word) for word in sys.argv[1:] if word.isdigit()] or [1_000, 10_000]
    rows = measured(pins)
    if "--json" in sys.argv:
        print(json.dumps({"machine": machine(), "rows": to_builtins(rows)}, indent=2))
        return
    print(f"{machine()}\n{table(rows)}")


if __name__ == "__main__":
    main()
