"""`python -m tests.crash --kills 200 --seed 1`: kill the daemon so often, over every plan, and say how it went.

Each plan takes its share of the kills, in seeds of its own; at the end stands how often each failpoint was met, and how
often the daemon was killed at it.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.queues import Queue
from pathlib import Path
from typing import NamedTuple

from tests.crash.campaign import Tally
from tests.crash.failpoints import of_source
from tests.crash.plans import PLANS, SHARES, run
from tests.scenarios.hosts import OWN_NETWORK

KILLS_OF_A_CAMPAIGN_MAX = 20
WORKERS_MAX = 11
"""Each has ports of its own, below those that the kernel gives to connections."""
WORKERS_PER_CORE = 2
"""Half of the time a campaign waits for what it has started."""
FAILURE_CHARACTERS = 1500
"""Of the beginning and of the end of each failure that is shown again."""
OWN = "CRASH_NETWORK"
"""Set where this is the process in a network of its own."""


class Task(NamedTuple):
    plan: str
    seed: int
    kills: int

    @property
    def replay(self) -> str:
        return f"python -m tests.crash --plan {self.plan} --seed {self.seed} --kills {self.kills}"


def one(folder: Path, until_s: float, task: Task) -> tuple[Task, Tally, str]:
    """(task, where it was killed, what went wrong); in a process of its own, with ports of its own."""
    tally, wrong = Tally(), ""
    try:
        if time.monotonic() < until_s:
            run(folder / f"{task.plan}-{task.seed}", *task, tally=tally, until_s=until_s)
    except Exception:
        wrong = traceback.format_exc()
    return task, tally, wrong


def tasks(plans: list[str], kills: int, seed: int) -> Iterator[Task]:
    """Every plan's share in campaigns of so many kills at most."""
    whole = sum(SHARES[plan] for plan in plans)
    for plan in plans:
        left, number = -(-kills * SHARES[plan] // whole), seed
        while left > 0:
            yield Task(plan, number, min(left, KILLS_OF_A_CAMPAIGN_MAX))
            left, number = left - KILLS_OF_A_CAMPAIGN_MAX, number + 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of each plan's first campaign")
    parser.add_argument("--plan", choices=PLANS, action="append", help="this one alone, or these")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing more after so many")
    parser.add_argument(
        "--workers", type=int, default=min(WORKERS_MAX, WORKERS_PER_CORE * (os.cpu_count() or 1))
    )
    asked = parser.parse_args()
    _in_a_network_of_its_own()
    os.umask(0o077)  # the daemon does not start where others could read what holds a secret
    began_s = time.monotonic()
    until_s = began_s + 60 * asked.minutes
    folder = Path(tempfile.mkdtemp(prefix="ugs-crash-"))
    # Every plan's first campaign before any second one, so that each has its turn however little time there is.
    wanted = sorted(tasks(asked.plan or list(PLANS), asked.kills, asked.seed), key=lambda task: task.seed)
    whole, failures = Tally(), list[str]()
    numbers: Queue[int] = multiprocessing.Queue()
    for number in range(asked.workers):
        numbers.put(number)
    with ProcessPoolExecutor(asked.workers, initializer=_ports_of_its_own, initargs=(numbers,)) as pool:
        for done in as_completed([pool.submit(one, folder, until_s, task) for task in wanted]):
            task, tally, wrong = done.result()
            whole.add(tally)
            print(f"{task.plan}, seed {task.seed}: {tally.killed.total()} kills", flush=True)  # noqa: T201 - its output
            if wrong:
                wrong = f"{wrong}\nit is all in {folder}/{task.plan}-{task.seed}\nreplay: {task.replay}"
                failures.append(wrong)
                print(wrong, flush=True)  # noqa: T201 - its output
    _tell(whole)
    # Once more, at the end of a long log, of which that may be all that is kept.
    for wrong in failures:
        print(short(wrong))  # noqa: T201 - its output
    kills, took_s = whole.killed.total(), time.monotonic() - began_s
    print(f"{kills} kills, {len(failures)} of {len(wanted)} campaigns failed, in {took_s:.0f} s")  # noqa: T201 - its output
    return 1 if failures else 0


def short(failure: str) -> str:
    """The beginning, which says where it failed, and the end, which says how to see it again."""
    begins, ends = failure[:FAILURE_CHARACTERS], failure[FAILURE_CHARACTERS:]
    left_out = "\n[...]\n" if len(ends) > FAILURE_CHARACTERS else ""
    return f"{begins}{left_out}{ends[-FAILURE_CHARACTERS:]}"


def _tell(whole: Tally) -> None:
    """A line for each failpoint of the engine, also for those that were never met: tests of their own kill at these."""
    print(f"{'killed':>7} {'met':>7}")  # noqa: T201 - its output
    for name in sorted(of_source() | whole.met.keys() | whole.killed.keys()):
        print(f"{whole.killed[name]:7} {whole.met[name]:7} {name}")  # noqa: T201 - its output


def _ports_of_its_own(numbers: Queue[int]) -> None:
    from tests.drivers import services

    services.PORTS = services.ports_of(numbers.get())


def _in_a_network_of_its_own() -> None:
    """Become a process that shares no port with whatever else this machine does, where we may."""
    if os.geteuid() == 0 and OWN not in os.environ:
        again = (*OWN_NETWORK, sys.executable, "-m", "tests.crash", *sys.argv[1:])
        os.execvpe(again[0], again, {**os.environ, OWN: "1"})


if __name__ == "__main__":
    sys.exit(main())
