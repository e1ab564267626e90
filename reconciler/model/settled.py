"""Services at rest: nothing about them is to be decided, so that a pass need not go over them again."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from reconciler.model.desired import Desired
from reconciler.model.observation import Observation
from reconciler.model.target import Workload


def settled(
    desired: Desired,
    observed: Mapping[str, Observation],
    proven: Mapping[str, str],
    busy: Collection[str] = (),
) -> frozenset[str]:
    """Those of which what is pinned is last-good, and runs: all of it, nothing else, and as it was applied.

    `proven`: by service the target that is last-good, as text. No change, repair or drift can be found of them,
    whatever else is on record.
    """
    return frozenset(
        service
        for service, work in desired.workloads.items()
        if (seen := observed.get(service))
        and runs_whole(work, seen)
        and proven.get(service) == str(work.target)
        and service not in busy
    )


def runs_whole(work: Workload, seen: Observation) -> bool:
    """Whether every instance of it is there, and no other, none of them changed by hand."""
    target = work.target
    for one in seen.instances:
        if (one.target is not target and one.target != target) or one.drift:
            return False
    return {one.index for one in seen.instances}.issuperset(range(work.instances))
