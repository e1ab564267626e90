"""`python -m tests.crash --kills 200 --seed 1 --workers 2`: kill the daemon so often, and say where and how it went."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.crash.campaign import run


def one(folder: Path, seed: int, kills: int) -> tuple[int, Counter[str], str]:
    """(seed, where it was killed, what went wrong); in a process of its own, with ports of its own."""
    try:
        return seed, run(folder / f"seed-{seed}", seed, kills), ""
    except Exception:
        return seed, Counter(), traceback.format_exc()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first worker; the others count on from it"
    )
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    began_s = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="ugs-crash-"))
    seeds = range(asked.seed, asked.seed + asked.workers)
    share = -(-asked.kills // asked.workers)
    where: Counter[str] = Counter()
    failed = False
    with ProcessPoolExecutor(asked.workers, initializer=_ports_of_its_own) as pool:
        for seed, at, wrong in pool.map(one, [folder] * len(seeds), seeds, [share] * len(seeds)):
            where += at
            if wrong:
                failed = True
                print(f"seed {seed}: {wrong}\nwhat it left is in {folder}/seed-{seed}")  # noqa: T201 - its output
    took_s = time.monotonic() - began_s
    for name, times in sorted(where.items()):
        print(f"{times:6} {name}")  # noqa: T201 - its output
    print(f"{where.total()} kills over seeds {list(seeds)} in {took_s:.0f} s")  # noqa: T201 - its output
    return 1 if failed else 0


def _ports_of_its_own() -> None:
    from tests.drivers import services

    services.PORTS = services.ports_of(os.getpid() % 20)


if __name__ == "__main__":
    sys.exit(main())
