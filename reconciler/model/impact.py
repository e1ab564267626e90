"""Who needs whom: what a new version requires, and who requires a service."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

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


def running_of(target: Target, release: Release | None, last: Workload | None) -> Running:
    """What runs, with what it needs. `release`: that version's, where it is known; `last`: last-good, which may still
    know it."""
    if release is None and last and last.release.version == target.version:
        release = last.release
    return Running(target.version, release.requires if release else {})


def needed_by(workloads: Mapping[str, Workload]) -> Mapping[str, set[str]]:
    """By service, those that require it."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, work in workloads.items():
        for needed in work.release.requires:
            found[needed].add(name)
    return found
