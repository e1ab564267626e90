"""Deciding for one environment of 1,000 services with dependencies, all of whose pins moved: CPU in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from msgspec import Struct

from benchmarks.result import Result
from reconciler.engine.view import ServiceView, view_of
from reconciler.model.circumstances import Circumstances, Gate
from reconciler.model.desired import Desired
from reconciler.model.gates import GATES, evaluate
from reconciler.model.itinerary import Step, itinerary
from reconciler.model.observation import Observation
from reconciler.model.order import Running, arrange
from reconciler.model.plan import Change, Good, Records, plan
from reconciler.model.target import Workload
from reconciler.model.version import Version
from tests.build import NOW, desired, pin, release, seen, work

SERVICES = 1_000
DEPENDENCIES = 3
ROUNDS = 9


class Fleet(Struct):
    """One environment whose services all have new pins."""

    wanted: Desired
    records: Records
    observed: dict[str, Observation]
    running: dict[str, Running]

    def planned(self) -> tuple[Circumstances, dict[str, tuple[Change, tuple[Gate, ...]]]]:
        """The plan of all, in order, with every gate."""
        changes = plan(self.wanted, self.observed, self.records, now=NOW)
        order = arrange(changes, self.running)
        around = _around(self.wanted, order.refused, order.after)
        return around, {change.service: (change, evaluate(change, around, now=NOW)) for change in changes}


def fleet() -> Fleet:
    old = [_work("1.0.0", number) for number in range(SERVICES)]
    new = [_work("1.1.0", number) for number in range(SERVICES)]
    return Fleet(
        desired(*new, pins=[pin("1.1.0", one.service) for one in new]),
        Records(
            good={one.service: (Good(one, NOW),) for one in old},
            attempted={one.service: Version("1.0.0") for one in old},
        ),
        seen(*old),
        {one.service: Running(one.target.version, one.release.requires) for one in old},
    )


def run() -> Result:
    """Milliseconds of CPU for a plan of all, and for explaining one service out of it."""
    here = fleet()
    wanted, observed, planned = here.wanted, here.observed, here.planned
    around, told = planned()
    waiting = sum(any(not gate.open for gate in gates) for _, gates in told.values())
    if not 0 < waiting < SERVICES:
        raise SystemExit(f"{waiting} of {SERVICES} changes wait: this measures something else than it says")

    def explained() -> tuple[ServiceView, tuple[Step, ...]]:
        name = max(wanted.workloads)
        one = {name: told[name]}
        steps = itinerary(told[name][0], wanted.releases.get(name, {}), around, now=NOW, first=GATES)
        return view_of(wanted, {name: observed[name]}, one, {}, {}, {}, now=NOW)[name], steps

    return Result(
        f"deciding for {SERVICES} services, {DEPENDENCIES} dependencies each",
        "ms of CPU",
        {"plan of all (bound: 100)": _timed(planned), "explain one (bound: 20)": _timed(explained)},
    )


def _work(version: str, number: int) -> Workload:
    """Each service needs up to three others of lower number, in the version that the others move to."""
    service = f"s{number:04}"
    needed = {f"s{other:04}" for other in (number // 2, number // 3, number - 1) if 0 <= other < number}
    requires = dict.fromkeys(sorted(needed), f">={version} <2.0.0")
    return work(version, service, of=release(version, service, requires=requires))


def _around(
    wanted: Desired, refused: Mapping[str, str], after: Mapping[str, frozenset[str]]
) -> Circumstances:
    return Circumstances(
        environment=wanted.environment,
        observed={},
        quarantined={},
        busy=frozenset(),
        fetched_at=NOW,
        max_stale_s=600.0,
        initials=0,
        first_accepted=True,
        refused=refused,
        after=after,
    )


def _timed(call: Callable[[], object]) -> list[float]:
    figures = []
    for _ in range(ROUNDS):
        began = time.process_time()
        call()
        figures.append((time.process_time() - began) * 1000)
    return figures
