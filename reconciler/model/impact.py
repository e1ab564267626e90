"""Who is at risk when a service changes: everything that requires it, directly or by way of others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from reconciler.model.target import Workload


def dependents(service: str, needed_by: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Everything that requires the service, directly or not, by name."""
    found, asked = {service}, [service]
    while asked:
        new = needed_by.get(asked.pop(), set()) - found
        found |= new
        asked += new
    return tuple(sorted(found - {service}))


def needed_by(workloads: Mapping[str, Workload]) -> Mapping[str, set[str]]:
    """By service, those that require it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, work in workloads.items():
        for needed in work.release.requires:
            found[needed].add(name)
    return found
