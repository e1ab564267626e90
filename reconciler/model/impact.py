"""Who needs whom: what a new version requires, and who requires a service."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct

from reconciler.model.order import Running
from reconciler.model.range import Range
from reconciler.model.release import Release
from reconciler.model.target import Target, Workload
from reconciler.model.version import Version


class Need(Struct, frozen=True):
    """A requirement of the new release, and the version that would run (None: the service does not)."""

    service: str
    wanted: str
    found: Version | None
    met: bool


def need(service: str, wanted: str, would: Mapping[str, Target]) -> Need:
    found = would[service].version if service in would else None
    return Need(service, wanted, found, met=found is not None and Range.parse(wanted).contains(found))


def dependents(service: str, by: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Everything that requires the service, directly or not, by name."""
    found, asked = {service}, [service]
    while asked:
        new = by.get(asked.pop(), set()) - found
        found |= new
        asked += new
    return tuple(sorted(found - {service}))


def running_of(target: Target, known: Iterable[Release], last: Workload | None) -> Running:
    """What runs, with what it needs. `last`: last-good, whose release `known` may have no longer."""
    releases = [*known, *([last.release] if last else [])]
    found = next((one for one in releases if one.version == target.version), None)
    return Running(target.version, found.requires if found else {})


def needed_by(workloads: Mapping[str, Workload]) -> Mapping[str, set[str]]:
    """By service, those that require it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, work in workloads.items():
        for needed in work.release.requires:
            found[needed].add(name)
    return found
