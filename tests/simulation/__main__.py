"""`python -m tests.simulation`: many seeds, or one with its story; and the mutations."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.simulation.kinds import KINDS, seeds
from tests.simulation.mutations import MUTATIONS
from tests.simulation.runner import Failure, play, search, timed

HASH_SEED = "0"


def main() -> int:
    """0 when every seed holds. Strings hash alike in every run, so that a seed replays exactly."""
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        environ = {**os.environ, "PYTHONHASHSEED": HASH_SEED}
        os.execve(sys.executable, (sys.executable, "-m", "tests.simulation", *sys.argv[1:]), environ)
    parser = argparse.ArgumentParser(prog="simulate", description="Simulated upgrades, seed by seed.")
    parser.add_argument("--seeds", type=int, default=2000, help="how many (default: 2000)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--seed", type=int, help="one seed alone, and its story")
    parser.add_argument("--mutation", help="with this mutation of the engine; 'all': see that each is found")
    parser.add_argument(
        "--kind",
        type=_kind,
        help="only seeds of this kind: a scene, a fault, both as scene+fault (default: what the mutation needs)",
    )
    asked = parser.parse_args()
    gc.freeze()
    if asked.mutation == "all":
        return search(asked.seeds, asked.first)
    if asked.seed is not None:
        return _tell(play(asked.seed, asked.mutation), always=True)
    kind = asked.kind or (MUTATIONS[asked.mutation].kind if asked.mutation else "any")
    return _many(list(seeds(kind, asked.first, asked.seeds)), asked.mutation)


def _kind(text: str) -> str:
    if unknown := set(text.split("+")) - set(KINDS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are {', '.join(KINDS)}")
    return text


def _many(numbers: list[int], mutation: str | None) -> int:
    """One process for each core that it may have. Stops at the lowest seed that does not hold."""
    spent_s, upgrades, count = 0.0, 0, len(numbers)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for done, (played, took_s) in enumerate(
            pool.map(partial(timed, mutation=mutation), numbers, chunksize=10), 1
        ):
            upgrades, spent_s = upgrades + played.upgrades, spent_s + took_s
            if played.wrong:
                pool.shutdown(wait=False, cancel_futures=True)
                return _tell(played)
            if done % 100 == 0 or done == count:
                rate = upgrades / spent_s * 60
                print(f"{done} seeds, {upgrades} upgrades, {rate:.0f} a minute of one core", flush=True)
    return 0


def _tell(played: Failure, *, always: bool = False) -> int:
    if always or played.wrong:
        print("\n".join(played.story))
    print(
        f"seed {played.seed}: {played.wrong or 'holds'}; {played.upgrades} upgrades, {played.events} events"
    )
    if played.wrong:
        print(f"replay: make simulate SEED={played.seed}")
    return 1 if played.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
