"""The simulation itself: it holds for the engine as it is, replays exactly, and finds what is broken."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutations import MUTATIONS, mutated
from tests.simulation.runner import play

TOP = Path(__file__).parents[2]
SEEDS = range(15)
PLAYED = f"""
import json
from tests.simulation.runner import play
print(json.dumps([play(seed) for seed in {list(SEEDS)}]))
"""


def played() -> list[tuple[int, str, list[str], int, int]]:
    """These seeds, in a process of their own, where strings hash as they do in `make simulate`."""
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    result = subprocess.run(
        (sys.executable, "-c", PLAYED), cwd=TOP, env=environ, capture_output=True, check=True, timeout=300
    )
    stories: list[tuple[int, str, list[str], int, int]] = json.loads(result.stdout)
    return stories


def test_every_invariant_holds_in_a_handful_of_seeds_which_replay_exactly() -> None:
    first = played()
    assert [(seed, wrong) for seed, wrong, *_ in first if wrong] == []
    assert sum(upgrades for *_, upgrades, _ in first) > 2 * len(SEEDS)
    assert played() == first


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_still_fits_the_engine(name: str) -> None:
    with mutated(MUTATIONS[name]):
        pass


def test_a_failure_that_is_not_quarantined_first_is_found() -> None:
    wrong = [play(seed, "a failure is not quarantined first").wrong for seed in range(5)]
    assert any("quarantine_stands_first_3_3" in one for one in wrong)


def test_the_collector_is_not_started_by_a_seed_whose_services_run_already() -> None:
    gc.disable()
    try:
        play(0)
        assert not gc.isenabled()
    finally:
        gc.enable()
