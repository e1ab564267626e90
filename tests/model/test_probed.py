"""What samples of a probe come to: counts, and latencies that are told in a few numbers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from random import Random

import pytest

from reconciler.model.observation import Sample, Verdict
from reconciler.model.probed import BOUNDS_S, NONE, Adding, Rollup
from reconciler.model.verdict import Outcome

AT = datetime(2026, 11, 3, 18, 20, tzinfo=UTC)


def rolled_up(outcomes: Iterable[Outcome]) -> Rollup:
    adding = Adding()
    for one in outcomes:
        adding.add(one)
    return adding.total()


def outcome(verdict: Verdict = "healthy", latency_s: float | None = None) -> Outcome:
    return Outcome(0, Sample("tcp", verdict, AT, latency_s=latency_s))


def test_unknown_is_neither_healthy_nor_failed() -> None:
    found = rolled_up([outcome(), outcome("failed", 0.9), outcome("unknown", 2.0)])
    assert (found.samples, found.failed, found.doubtful) == (3, 1, 1)
    assert (found.timed, found.mean_s, found.p95_s, found.max_s) == (0, None, None, 0.0)


def test_two_halves_come_to_the_same_as_the_whole() -> None:
    every = [outcome(latency_s=number / 64) for number in range(100)]
    whole = rolled_up(every)
    assert rolled_up(every[:40]).plus(rolled_up(every[40:])) == whole
    assert (whole.samples, whole.timed) == (100, 100)
    assert whole.max_s == 99 / 64
    assert whole.mean_s == pytest.approx(49.5 / 64)


def test_what_is_longer_than_every_bound_is_counted_apart() -> None:
    found = rolled_up([outcome(latency_s=BOUNDS_S[0]), outcome(latency_s=60.0)])
    assert found.counts == (1, *NONE[2:], 1)
    assert BOUNDS_S[-1] < (found.p95_s or 0.0) <= 60.0


@pytest.mark.parametrize("seed", range(5))
def test_the_estimate_lies_between_the_bounds_that_hold_the_95th_percentile(seed: int) -> None:
    random = Random(seed)
    latencies_s = sorted(random.expovariate(1 / 0.08) for _ in range(random.randint(1, 400)))
    true_s = latencies_s[max(0, -(-95 * len(latencies_s) // 100) - 1)]
    found = rolled_up(outcome(latency_s=one) for one in latencies_s)
    low = max((bound for bound in (0.0, *BOUNDS_S) if bound < true_s), default=0.0)
    high = next((bound for bound in BOUNDS_S if bound >= true_s), latencies_s[-1])
    assert found.p95_s is not None
    assert low <= found.p95_s <= high
    assert found.p95_s <= found.max_s


def test_nothing_is_nothing() -> None:
    assert rolled_up([]) == Rollup()
    assert Rollup().plus(Rollup()) == Rollup()
