"""Whether a service does worse than it may: what is measured of it against a limit, which the old version may set.

What cannot be measured yet is `unknown`: it speaks neither for a release nor against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median

from msgspec import Struct

from reconciler.model.observation import Verdict
from reconciler.model.release import Health, Limit, Measure, Probe
from reconciler.model.verdict import Key, Outcome

ANSWERS_MIN = 5
"""Fewer answers of a probe say nothing of its latency."""
ANSWERS_KEPT = 20
"""Of how many answers of one probe of one instance the median is taken: the newest."""
TRIES_KEPT = 100
TRIES_MIN = 20
"""Fewer tries say nothing of the share that fails."""
NOISE: dict[Measure, float] = {"latency": 0.01, "errors": 0.01, "memory": 16 << 20, "cpu": 0.05}
"""What exceeds a baseline by less than this is not counted, however small the baseline: seconds, share, bytes,
processors."""


class Measured(Struct, frozen=True, omit_defaults=True):
    """What was measured of one version. `latency_s`: by probe, the median of its answers. `errors`: the share of
    tries that failed. Memory and processor time: of one instance, on average. None: not known."""

    latency_s: dict[str, float] = {}
    errors: float | None = None
    memory_bytes: float | None = None
    cpu: float | None = None


class Baseline(Struct, frozen=True, omit_defaults=True):
    """What the old version was like before it was touched: kept with the upgrade. `queries`: by query of the release's
    probes. `lacks`: by a probe's name, why there is nothing to compare with."""

    version: str
    measured: Measured = Measured()
    queries: dict[str, float] = {}
    lacks: dict[str, str] = {}


class Reading(Struct, frozen=True):
    """What one measure came to. `value`, and `before` of the old version: seconds, share, bytes, processors, or what a
    query gives; `at_most`: the highest that it may be. None where that is not known."""

    verdict: Verdict
    detail: str
    value: float | None = None
    at_most: float | None = None
    before: float | None = None


def is_relative(health: Health) -> bool:
    """Whether any of its limits is set by the old version."""
    return any(probe.at_most and probe.at_most.factor is not None for probe in health.probes)


def incomparable(health: Health, baseline: Baseline | None) -> dict[str, str]:
    """By name, the probes that have nothing to compare with, and why: they are passed over, and that is told."""
    found = {}
    for probe in health.measured:
        if probe.at_most is None or probe.at_most.factor is None:
            continue
        if baseline is None:
            found[probe.name] = "nothing ran before"
        elif not _before(probe, baseline):
            found[probe.name] = baseline.lacks.get(probe.name, "it could not be measured before")
    return found


def measured(outcomes: Iterable[Outcome], *, memory_bytes: float | None, cpu: float | None) -> Measured:
    """What the answers of probes, in their order, and the engine say of one version."""
    answers, failed, tries = dict[Key, list[float]](), 0, 0
    for outcome in outcomes:
        sample = outcome.sample
        if sample.verdict == "unknown":
            continue
        tries += 1
        failed += sample.verdict == "failed"
        if sample.verdict == "healthy" and sample.latency_s is not None:
            answers.setdefault((outcome.instance, sample.probe), []).append(sample.latency_s)
    by_probe = dict[str, list[float]]()
    for (_, name), all_s in answers.items():
        by_probe.setdefault(name, []).extend(all_s[-ANSWERS_KEPT:])
    return Measured(
        latency_s={name: median(all_s) for name, all_s in by_probe.items() if len(all_s) >= ANSWERS_MIN},
        errors=failed / tries if tries >= TRIES_MIN else None,
        memory_bytes=memory_bytes,
        cpu=cpu,
    )


def judged(probe: Probe, now: Measured, baseline: Baseline | None) -> Reading:
    """A probe of kind performance. A relative one needs a baseline: see `incomparable`."""
    measure, limit = probe.performance, probe.at_most
    if measure is None or limit is None:
        raise RuntimeError(f"{probe.name} measures nothing")
    before = baseline.measured if baseline else Measured()
    if measure == "latency":
        return _latency(limit, now.latency_s, before.latency_s)
    value, base = _one(measure, now), _one(measure, before)
    if value is None:
        return Reading("unknown", "too little was measured yet")
    return _against(limit, value, base, measure, measure)


def answered(probe: Probe, value: float, baseline: Baseline | None) -> Reading:
    """A probe of kind prometheus, with the number that the query gave."""
    if probe.prometheus is None or probe.at_most is None:
        raise RuntimeError(f"{probe.name} asks nothing")
    base = baseline.queries.get(probe.prometheus) if baseline else None
    return _against(probe.at_most, value, base, "the answer", None)


def _before(probe: Probe, baseline: Baseline) -> bool:
    if probe.prometheus is not None:
        return bool(baseline.queries.get(probe.prometheus))  # no multiple of nothing is a limit
    if probe.performance == "latency":
        return bool(baseline.measured.latency_s)
    return probe.performance is not None and _one(probe.performance, baseline.measured) is not None


def _one(measure: Measure, measured: Measured) -> float | None:
    match measure:
        case "errors":
            return measured.errors
        case "memory":
            return measured.memory_bytes
        case _:
            return measured.cpu


def _latency(limit: Limit, now: Mapping[str, float], before: Mapping[str, float]) -> Reading:
    """By the probe that does worst. One that the old version did not have is compared with nothing."""
    names = now.keys() if limit.factor is None else now.keys() & before.keys()
    if not names:
        return Reading("unknown", "too few answers yet")
    readings = [
        (now[name] / max(_highest(limit, before.get(name), "latency"), 1e-9), name) for name in sorted(names)
    ]
    _, worst = max(readings)
    return _against(limit, now[worst], before.get(worst), f"half of the answers of {worst}", "latency")


def _against(limit: Limit, value: float, base: float | None, what: str, measure: Measure | None) -> Reading:
    highest = _highest(limit, base, measure)
    told = f"{what}: {_text(value, measure)}, at most {_text(highest, measure)}"
    if limit.factor is not None:
        told += f" ({limit.factor:g} times what it was before: {_text(base or 0.0, measure)})"
    return Reading("healthy" if value <= highest else "failed", told, value, highest, base)


def _highest(limit: Limit, base: float | None, measure: Measure | None) -> float:
    if limit.factor is None:
        return limit.value or 0.0
    if base is None:
        raise RuntimeError("there is no baseline to compare with")
    least = base + NOISE[measure] if measure else 0.0
    return max(limit.factor * base, least)


def _text(value: float, measure: Measure | None) -> str:
    match measure:
        case "latency":
            return f"{value:.3g} s"
        case "errors":
            return f"{value:.1%}"
        case "memory":
            return f"{value / (1 << 20):.1f} MiB"
        case "cpu":
            return f"{value:.2f} processors"
        case _:
            return f"{value:.6g}"
