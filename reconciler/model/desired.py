"""From a snapshot to what each environment should run, with releases frozen as they were first deployed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.environment import Environment
from reconciler.model.errors import Problem
from reconciler.model.release import Release
from reconciler.model.snapshot import Snapshot
from reconciler.model.target import FROZEN_FIELDS, Workload, frozen_digest, workload
from reconciler.model.version import Version

Frozen = Mapping[tuple[str, str], Release]
"""(service, version) -> the release as it stood when it was first deployed anywhere."""


class Desired(Struct, frozen=True):
    """What one environment asks for at one revision."""

    revision: str
    environment: Environment
    workloads: dict[str, Workload]
    blind: frozenset[str]
    """Services whose pin cannot be read now: they are left exactly as they are."""
    hidden: bool
    """A bad file may hide pins: nothing that is absent counts as removed."""
    releases: Mapping[str, Mapping[Version, Release]] = {}
    """By service, every release in force: the ways that a change may go."""
    gone: frozenset[str] | None = None
    """What was pinned when the repository lost the environment, whose last settings these are; None while it has it."""


def resolve(snapshot: Snapshot, frozen: Frozen) -> dict[str, Desired]:
    """What every environment of the snapshot asks for."""
    releases: dict[str, dict[Version, Release]] = defaultdict(dict)
    for (service, _), release in snapshot.releases.items():
        releases[service][release.version] = in_force(release, frozen)
    return {
        name: Desired(
            revision=snapshot.revision,
            environment=environment,
            workloads=_workloads(snapshot, environment, releases),
            blind=frozenset(service for place, service in snapshot.blind_pins if place == name),
            hidden=name in snapshot.blind,
            releases=releases,
        )
        for name, environment in snapshot.environments.items()
    }


def departed(last: Environment, revision: str) -> Desired:
    """What an environment asks for that the repository has no longer: nothing, by its last settings."""
    return Desired(
        revision=revision,
        environment=replace(last, pins={}),
        workloads={},
        blind=frozenset(),
        hidden=False,
        gone=frozenset(last.pins),
    )


def thawed(snapshot: Snapshot, frozen: Frozen) -> list[Problem]:
    """An error for every release whose frozen fields were edited after it was deployed."""
    return [
        Problem(
            release.place,
            "",
            f"{service} {version} was deployed and is frozen, and this file no longer describes what was deployed",
            f"put its {', '.join(FROZEN_FIELDS)} back, and publish the change as a new version",
        )
        for (service, version), release in snapshot.releases.items()
        if (kept := frozen.get((service, version))) and frozen_digest(kept) != frozen_digest(release)
    ]


def in_force(release: Release, frozen: Frozen) -> Release:
    """The release with the fields of its target as they froze; notes, health and withdrawal may change."""
    kept = frozen.get((release.service, release.version.text))
    if kept is None:
        return release
    return replace(release, **{name: getattr(kept, name) for name in FROZEN_FIELDS})


def _workloads(
    snapshot: Snapshot, environment: Environment, releases: Mapping[str, Mapping[Version, Release]]
) -> dict[str, Workload]:
    return {
        service: workload(
            environment.name,
            pin,
            releases[service][pin.version],
            node=snapshot.nodes[environment.name, service],
        )
        for service, pin in environment.pins.items()
        if (environment.name, service) not in snapshot.blind_pins
    }
