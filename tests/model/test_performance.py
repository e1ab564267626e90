from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.observation import Sample, Verdict
from reconciler.model.performance import (
    ANSWERS_KEPT,
    ANSWERS_MIN,
    NOISE,
    TRIES_MIN,
    Baseline,
    Measured,
    answered,
    incomparable,
    is_relative,
    judged,
    measured,
)
from reconciler.model.release import Health, Limit, Measure, Probe
from reconciler.model.verdict import Outcome

BEGAN = datetime(2026, 11, 5, 12, tzinfo=UTC)
MEASURES: tuple[Measure, ...] = ("errors", "memory", "cpu")
numbers = st.floats(0, 1e12)
factors = st.floats(0.1, 100)


def outcome(
    verdict: Verdict, latency_s: float | None, *, probe: str = "web", instance: int = 0, number: int = 0
) -> Outcome:
    return Outcome(instance, Sample(probe, verdict, BEGAN + timedelta(seconds=number), "", latency_s))


def of(measure: Measure, value: float | None) -> Measured:
    match measure:
        case "latency":
            return Measured(latency_s={} if value is None else {"web": value})
        case "errors":
            return Measured(errors=value)
        case "memory":
            return Measured(memory_bytes=value)
        case _:
            return Measured(cpu=value)


def probe(measure: Measure, *, factor: float | None = None, value: float | None = None) -> Probe:
    return Probe(performance=measure, at_most=Limit(factor, value))


ALL = st.sampled_from(("latency", *MEASURES))


@given(ALL, numbers, factors, numbers)
def test_a_multiple_of_the_baseline_is_the_limit_beyond_its_noise(
    measure: Measure, base: float, factor: float, value: float
) -> None:
    reading = judged(probe(measure, factor=factor), of(measure, value), Baseline("1.0.0", of(measure, base)))
    assert reading.verdict == ("healthy" if value <= max(factor * base, base + NOISE[measure]) else "failed")


@given(ALL, factors, numbers)
def test_what_is_as_it_was_never_fails_a_multiple_of_one_or_more(
    measure: Measure, factor: float, value: float
) -> None:
    same = of(measure, value)
    assert judged(probe(measure, factor=max(1.0, factor)), same, Baseline("1", same)).verdict == "healthy"


@given(ALL, numbers, numbers, numbers, factors)
def test_better_is_never_judged_worse(
    measure: Measure, base: float, one: float, other: float, factor: float
) -> None:
    baseline, limit = Baseline("1", of(measure, base)), probe(measure, factor=factor)
    better, worse = (judged(limit, of(measure, value), baseline).verdict for value in sorted((one, other)))
    assert not (better == "failed" and worse == "healthy")


@given(ALL, numbers, numbers)
def test_a_number_is_a_limit_whatever_ran_before(measure: Measure, limit: float, value: float) -> None:
    for baseline in (None, Baseline("1", of(measure, value * 2))):
        reading = judged(probe(measure, value=limit), of(measure, value), baseline)
        assert reading.verdict == ("healthy" if value <= limit else "failed")


@given(ALL, numbers)
def test_what_is_not_measured_yet_is_unknown(measure: Measure, base: float) -> None:
    for limit in (probe(measure, value=1.0), probe(measure, factor=2.0)):
        assert judged(limit, Measured(), Baseline("1", of(measure, base))).verdict == "unknown"


def test_the_probe_that_does_worst_counts_and_a_new_one_is_compared_with_nothing() -> None:
    before = Baseline("1", Measured(latency_s={"a": 0.1, "b": 1.0}))
    limit = probe("latency", factor=2.0)
    well = judged(limit, Measured(latency_s={"a": 0.15, "b": 1.9, "new": 60.0}), before)
    assert well.verdict == "healthy"
    assert well.detail == "half of the answers of b: 1.9 s, at most 2 s (2 times what it was before: 1 s)"
    ill = judged(limit, Measured(latency_s={"a": 0.25, "b": 1.9}), before)
    assert ill.verdict == "failed"
    assert ill.detail.startswith("half of the answers of a: 0.25 s, at most 0.2 s")


def test_the_median_is_of_the_newest_answers_and_failures_are_not_answers() -> None:
    slow_start = [outcome("healthy", 9.0, number=n) for n in range(ANSWERS_KEPT)]
    now = [outcome("healthy", 0.1, number=100 + n) for n in range(ANSWERS_KEPT)]
    failed = [outcome("failed", 0.9, number=200 + n) for n in range(ANSWERS_KEPT)]
    found = measured([*slow_start, *now, *failed], memory_bytes=None, cpu=None)
    assert found.latency_s == {"web": 0.1}
    assert found.errors == pytest.approx(1 / 3)


def test_instances_count_alike() -> None:
    answers = [
        outcome("healthy", 0.1 if instance else 0.3, instance=instance)
        for instance in (0, 1, 1)
        for _ in range(9)
    ]
    assert measured(answers, memory_bytes=1, cpu=2).latency_s == {"web": 0.1}


@pytest.mark.parametrize("missing", [0, 1])
def test_few_answers_say_nothing(missing: int) -> None:
    answers = [outcome("healthy", 0.1) for _ in range(ANSWERS_MIN - missing)]
    assert bool(measured(answers, memory_bytes=None, cpu=None).latency_s) is not bool(missing)
    tries = [outcome("failed", 0.1) for _ in range(TRIES_MIN - missing)]
    unknown = [outcome("unknown", None) for _ in range(TRIES_MIN)]
    assert measured([*tries, *unknown], memory_bytes=None, cpu=None).errors == (None if missing else 1.0)


def test_a_query_has_no_noise_and_no_multiple_of_nothing() -> None:
    query = Probe(prometheus="up", at_most=Limit(factor=1.5))
    health = Health(probes=(query,))
    assert is_relative(health)
    assert incomparable(health, None) == {"prometheus up": "nothing ran before"}
    lacks = Baseline("1", lacks={"prometheus up": "no data"})
    assert incomparable(health, lacks) == {"prometheus up": "no data"}
    assert incomparable(health, Baseline("1", queries={"up": 0.0})) != {}
    before = Baseline("1", queries={"up": 2.0})
    assert incomparable(health, before) == {}
    assert answered(query, 3.0, before).verdict == "healthy"
    assert answered(query, 3.01, before).verdict == "failed"
    number = Probe(prometheus="up", at_most=Limit(value=3.0))
    assert not is_relative(Health(probes=(number,)))
    assert answered(number, 3.0, None).verdict == "healthy"
    assert answered(number, 3.01, None).verdict == "failed"


@pytest.mark.parametrize("measure", ["latency", *MEASURES])
def test_what_the_old_version_was_not_measured_by_is_not_compared(measure: Measure) -> None:
    relative, number = probe(measure, factor=2.0), probe(measure, value=2.0)
    health = Health(probes=(relative, number))
    assert incomparable(health, Baseline("1")) == {relative.name: "it could not be measured before"}
    assert incomparable(health, Baseline("1", of(measure, 1.0))) == {}
    assert incomparable(Health(probes=(number,)), None) == {}


def test_what_is_no_measure_is_a_bug() -> None:
    for broken in (Probe(tcp="h:1"), Probe(performance="cpu")):
        with pytest.raises(RuntimeError):
            judged(broken, Measured(), None)
        with pytest.raises(RuntimeError):
            answered(broken, 1.0, None)
    with pytest.raises(RuntimeError):
        answered(Probe(prometheus="up", at_most=Limit(factor=2.0)), 1.0, None)
