"""How a manifest's `health` is read: times in seconds, and probes that can be told apart."""

from __future__ import annotations

from typing import Any

from reconciler.model.document import Path
from reconciler.model.findings import Findings
from reconciler.model.release import Health

KINDS = ("http", "tcp", "command", "prometheus", "performance")
QUERY_INTERVAL_S = 5.0
QUERY_TIMEOUT_S = 5.0
"""Prometheus has nothing new every second."""


def parse_health(found: Findings) -> dict[str, Any]:
    """The mapping `health`, ready to convert; what is wrong with it is among the findings."""
    health = found.timed(("health",), ("soak", "deadline", "watch"))
    typical = Health()
    deadline_s = health.get("deadline_s", typical.deadline_s)
    if deadline_s <= health.get("soak_s", typical.soak_s):
        remedy = "raise `deadline` or lower `soak`"
        found.add(("health",), "the deadline is not longer than the soak", remedy)
    probes = [_probe(found, index, deadline_s) for index in range(len(health.get("probes", ())))]
    names = [_asked(probe) for probe in probes]
    for index, name in enumerate(names):
        if name in names[:index]:
            path: Path = ("health", "probes", index)
            found.add(path, "an earlier probe asks the same", "expect all of its answer in one probe")
    return health | {"probes": probes}


def _limit(text: str | float) -> dict[str, float]:
    """`1.5x baseline`, `2%`, or a number, in the form that the schema asks for."""
    if isinstance(text, str) and text.endswith("%"):
        return {"value": float(text[:-1]) / 100}
    return {"factor": float(text.partition("x")[0])} if isinstance(text, str) else {"value": float(text)}


def _asked(probe: dict[str, Any]) -> tuple[object, ...]:
    """What a probe asks, which is also what it is known by."""
    return tuple((kind, str(probe[kind])) for kind in KINDS if kind in probe)


def _probe(found: Findings, index: int, deadline_s: float) -> dict[str, Any]:
    path: Path = ("health", "probes", index)
    probe = found.timed(path, ("interval", "timeout"), positive=True)
    if sum(kind in probe for kind in KINDS) != 1:
        found.add(
            path, f"a probe is exactly one of {', '.join(KINDS[:-1])} and {KINDS[-1]}", "write one of them"
        )
    elif "prometheus" in probe:
        probe = {"interval_s": QUERY_INTERVAL_S, "timeout_s": min(QUERY_TIMEOUT_S, deadline_s)} | probe
    measures = "prometheus" in probe or "performance" in probe
    if measures and "at_most" not in probe:
        found.add(path, "this probe has no limit", 'add for example `at_most: "1.5x baseline"`')
    elif "at_most" in probe and not measures:
        found.add((*path, "at_most"), "only prometheus and performance probes have a limit", "remove it")
    elif measures:
        probe["at_most"] = _limit(probe["at_most"])
    expect = probe.pop("expect", {})
    if expect and "http" not in probe:
        found.add((*path, "expect"), "only an http probe can expect an answer", "remove it")
    if probe.get("timeout_s", 0.0) > deadline_s:
        found.add((*path, "timeout"), "this is longer than the deadline", "shorten it")
    return probe | {f"expect_{key}": value for key, value in expect.items()}
