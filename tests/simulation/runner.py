"""Playing seeds: one after the other, with the engine as it is or with one mutation."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

from reconciler.engine import aftermath, fleet, paced, repository
from tests.simulation.kinds import seeds
from tests.simulation.mutations import MUTATIONS, mutated
from tests.simulation.simulation import Simulation
from tests.simulation.violation import Violation


class Failure(NamedTuple):
    """How a seed went. `wrong`: what did not hold; empty when everything did."""

    seed: int
    wrong: str
    story: list[str]
    upgrades: int
    events: int


def play(seed: int, mutation: str | None = None) -> Failure:
    """One seed, to its end."""
    wrong = ""
    broken = mutated(MUTATIONS[mutation]) if mutation else contextlib.nullcontext()
    # The collector is this module's own affair: it must not start in the midst of a seed, nor keep all of them.
    let_be, too = (
        patch.object(module, "standing_still", contextlib.nullcontext) for module in (repository, fleet)
    )
    # Time stands still while something is computed: in every other seed, a piece is over after each step.
    in_pieces = patch.object(paced, "HOLD_S", 0.0 if seed % 2 else paced.HOLD_S)
    # Which tasks there are nobody asks, and to remember each weakly costs more than to make it.
    unlisted = patch.object(asyncio.tasks._all_tasks, "add", _forget)  # type: ignore[attr-defined]  # asyncio's own
    with let_be, too, in_pieces, unlisted, _unheard():
        simulation = Simulation(seed)  # which reads a commit where services run already
        relay = simulation.pair.relay if simulation.pair else None
        told = patch.object(aftermath, "LOOK_S", relay.TELLS_S if relay else aftermath.LOOK_S)
        with broken, told, _noted(simulation):
            try:
                simulation.run()
            except Violation as violation:
                wrong = str(violation)
            except Exception:
                wrong = f"the simulation itself failed:\n{traceback.format_exc()}"
            with contextlib.suppress(SystemExit):  # a last effect of what is thrown away
                simulation.end()
    drawn = ", ".join(fault.name for fault in simulation.weather.drawn) or "none"
    story = [f"seed {seed}: {simulation.rules}; faults: {drawn}"]
    story += [f"{at_s:9.3f}  {text}" for at_s, text in simulation.trace]
    return Failure(seed, wrong, story, simulation.ended_upgrades, simulation.events)


def _forget(_task: object) -> None:
    """Instead of a place in a set."""


def play_on(seed: int, mutation: str | None = None) -> Failure:
    """One of very many, in a process that does nothing else: what each throws away is collected behind it.

    Never in the midst of one, where it would speak on its loop; nor behind many, when memory has become cold.
    """
    gc.disable()
    sys.unraisablehook = lambda _unraisable: None
    played = play(seed, mutation)
    gc.collect()
    gc.freeze()  # what is left is known from seed to seed, and need not be looked through again
    return played


def timed(seed: int, mutation: str | None = None) -> tuple[Failure, float]:
    """The same, and how many seconds of a core it took."""
    began_s = time.process_time()
    return play_on(seed, mutation), time.process_time() - began_s


class _Noted(logging.Handler):
    """What the daemon logs as an error becomes part of the story."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(logging.ERROR)
        self.simulation = simulation

    def emit(self, record: logging.LogRecord) -> None:
        self.simulation.note(f"log: {self.format(record)}")


@contextlib.contextmanager
def _noted(simulation: Simulation) -> Iterator[None]:
    logs = [logging.getLogger(name) for name in ("ugs", "reconciler")]
    before = [(log.level, log.propagate, log.handlers) for log in logs]
    for log in logs:
        log.propagate, log.handlers = False, [_Noted(simulation)]
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, (level, propagate, handlers) in zip(logs, before, strict=True):
            log.propagate, log.handlers = propagate, handlers
            log.setLevel(level)  # which also forgets what was found to be too low


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """A killed daemon's coroutines are thrown away half-way; what they say to that is nobody's business."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _unraisable: None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "coroutine .* was never awaited")
            yield
            if gc.isenabled():
                gc.collect()  # what was thrown away speaks now, or never
    finally:
        sys.unraisablehook = hook


def search(count: int, first: int) -> int:
    """See that each mutation is found within so many seeds of its kind, one in each process for each core that it may
    have; 1 when one is not."""
    missed = 0
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for name, found in zip(MUTATIONS, pool.map(partial(_sought, count, first), MUTATIONS), strict=True):
            missed += found is None
            what = f"seed {found.seed}: {found.wrong.splitlines()[-1]}" if found else "not found"
            print(f"{name}: {what}", flush=True)
    return 1 if missed else 0


def _sought(count: int, first: int, name: str) -> Failure | None:
    return find(name, seeds(MUTATIONS[name].kind, first, count))


def find(name: str, numbers: Iterable[int]) -> Failure | None:
    """The first of these seeds that does not hold with a mutation, and does without it."""
    for number in numbers:
        if (found := play_on(number, name)).wrong:
            if not (as_it_is := play_on(number)).wrong:
                return found
            print(f"seed {number} does not hold without a mutation either: {as_it_is.wrong}", flush=True)
    return None
