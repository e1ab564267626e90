"""No failpoint of the engine is forgotten: each has a plan that reaches it, or a test that kills at it by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.failpoints import killed_by_name, of_source, outlived, shown, unsaid
from tests.crash.plans import PLANS, SHARES

ROUNDS_MAX = 20


def test_every_failpoint_is_killed_at() -> None:
    assert unsaid() == set(), "say in SAID of tests/crash/failpoints.py what these names can be"
    assert outlived() == set(), "SAID of tests/crash/failpoints.py speaks of names that are no more"
    planned = {name for plan in PLANS.values() for name in plan.reaches}
    assert planned <= of_source(), "these are no more"
    forgotten = of_source() - planned - killed_by_name()
    assert forgotten == set(), "a plan in tests/crash has to reach these, and say so in `reaches`"
    assert SHARES.keys() == PLANS.keys()


def test_what_differs_from_release_to_release_counts_as_one() -> None:
    names = ("apply:begun", "apply:2:begun", "check:before-x:done", "phase:waiting", "slot:done")
    assert [*map(shown, names)] == [
        "apply:begun",
        "apply:*:begun",
        "check:*:done",
        "phase:waiting",
        "slot:done",
    ]


@pytest.mark.crash
@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_meets_what_it_says(tmp_path: Path, plan: str) -> None:
    campaign = PLANS[plan](tmp_path, 1)
    try:
        campaign.start()
        for _ in range(ROUNDS_MAX):
            if campaign.tally.met.keys() >= set(campaign.reaches):
                break
            campaign.round()
        assert set(campaign.reaches) - campaign.tally.met.keys() == set()
    finally:
        campaign.close()
