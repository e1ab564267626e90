"""`python -m benchmarks.scale 1000 10000`: the table for so many pins each; with --json every figure, and with
`--write docs/performance.md` into that page, the curves beside it."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from msgspec import to_builtins

from benchmarks.scale import curves, fair, instead, live, read, rest, small, waiting
from benchmarks.scale.generate import Size, sized
from benchmarks.scale.row import Row, cpu_ms, markdown, table

FILES = 100_000
MANIFESTS = 10_000
COMMITS = 20_000
MOVED_MAX = 5_000
TABLE, GROWTH = "table", "growth"


def machine() -> str:
    """What it was measured on, with how fast Python is there at this hour: of one kind of machine that differs too."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    git = subprocess.run(("git", "version"), check=True, capture_output=True, text=True).stdout.split()[2]
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    system += f", Git {git}, SQLite {sqlite3.sqlite_version}"
    adding = cpu_ms(_add_up)
    cores = (
        f"{os.cpu_count()} cores ({_processor()}; the numbers up to a million are added in {adding:.0f} ms)"
    )
    return f"{cores}, {memory} GiB, {system}"


def _add_up() -> None:
    total = 0
    for number in range(1_000_000):
        total += number


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


def measured(pins: list[int]) -> list[Row]:
    made: list[Callable[[Path], list[Row]]] = [small.rows, waiting.rows, live.rows]
    for size in map(sized, pins):
        made += [partial(read.rows, size), partial(rest.rows, size)]
    made += [
        partial(fair.rows, max(1_000, min(MOVED_MAX, max(pins) // 2))),
        partial(read.check_rows, Size(10, 100, MANIFESTS // 10, versions=10)),
        partial(small.revert_rows, Size(1, 5, 9)),
        partial(small.revert_rows, Size(1, 5, 9, unrelated=FILES)),
        partial(read.beside_rows, sized(1_000), FILES, COMMITS),
        instead.rows,
    ]
    return [row for part in made for row in alone(part)]


def alone(part: Callable[[Path], list[Row]]) -> list[Row]:
    """A part in a process of its own: memory is counted from nothing."""
    spawning = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, mp_context=spawning) as process:
        return process.submit(part, Path(folder)).result()


def write(page: Path, rows: list[Row]) -> None:
    """Put the machine and the table between the page's marks, and the drawing beside it."""
    text = page.read_text(encoding="utf-8")
    for mark, body in ((TABLE, f"On {machine()}:\n\n{markdown(rows)}"), (GROWTH, _grown(rows))):
        begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
        head, _, rest_ = text.partition(begin)
        _, found, tail = rest_.partition(end)
        if not found:
            raise SystemExit(f"{page}: there is no {begin} … {end}")
        text = f"{head}{begin}\n{body}\n{end}{tail}"
    page.write_text(text, encoding="utf-8")
    page.with_name("growth.svg").write_text(curves.drawn(rows), encoding="utf-8")


def _grown(rows: list[Row]) -> str:
    """The points of every curve."""
    sizes = sorted({row.pins for row in rows if row.curve})
    lines = ["| | " + " | ".join(f"{pins:,} pins" for pins in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    for curve in dict.fromkeys((row.curve, row.unit) for row in rows if row.curve):
        figures = {row.pins: row.figure for row in rows if (row.curve, row.unit) == curve}
        lines.append(
            f"| {curve[0]}, {curve[1]} | " + " | ".join(f"{figures[pins]:.1f}" for pins in sizes) + " |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pins", nargs="*", type=int, default=[1_000, 10_000])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    rows = measured(asked.pins)
    if asked.write:
        write(asked.write, rows)
    if asked.json:
        print(json.dumps({"machine": machine(), "rows": to_builtins(rows)}, indent=2))
        return
    print(f"{machine()}\n{table(rows)}")


if __name__ == "__main__":
    main()
