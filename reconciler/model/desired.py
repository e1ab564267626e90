"""From a snapshot to what each environment should run, with releases frozen as they were first deployed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.environment import Environment
from reconciler.model.errors import Problem
from reconciler.model.flags import described_as, mistyped
from reconciler.model.release import Release
from reconciler.model.same import once
from reconciler.model.snapshot import Snapshot
from reconciler.model.target import FROZEN_FIELDS, RELEASES_KEPT_MAX, Workload, frozen_digest, workload
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


@once(1)  # a commit that comes into force is looked at more than once; kept is what is in force anyway
def resolve(snapshot: Snapshot, frozen: Frozen) -> Mapping[str, Desired]:
    """What every environment of the snapshot asks for."""
    releases: dict[str, dict[Version, Release]] = defaultdict(dict)
    for (service, _), release in snapshot.releases.items():
        releases[service][release.version] = in_force(release, frozen)
    found = {}
    for name, environment in snapshot.environments.items():
        asked = {service: asked_of(snapshot, name, service, frozen) for service in environment.pins}
        unread = frozenset(service for place, service in snapshot.blind_pins if place == name)
        found[name] = Desired(
            revision=snapshot.revision,
            environment=environment,
            workloads={service: work for service, work in asked.items() if work is not None},
            blind=unread.union(service for service, work in asked.items() if work is None),
            hidden=name in snapshot.blind,
            releases=releases,
        )
    return found


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
    """The release with the fields of its target as they froze.

    Notes, health, withdrawal and the descriptions of flags may change.
    """
    kept = frozen.get((release.service, release.version.text))
    return release if kept is None else _as_frozen(release, kept)


@once(RELEASES_KEPT_MAX)
def _as_frozen(release: Release, kept: Release) -> Release:
    fields = {name: getattr(kept, name) for name in FROZEN_FIELDS}
    return replace(release, **fields | {"flags": described_as(kept.flags, release.flags)})


def asked_of(snapshot: Snapshot, environment: str, service: str, frozen: Frozen) -> Workload | None:
    """What one environment of the snapshot asks of one service; None where nothing, or nothing readable.

    Nor where its release froze with flags of other types than those of its file, to which the values were held.
    """
    found = snapshot.environments.get(environment)
    pin = found.pins.get(service) if found else None
    if found is None or pin is None or (environment, service) in snapshot.blind_pins:
        return None
    release = in_force(snapshot.releases[service, pin.version.text], frozen)
    if mistyped(release, found.flags):
        return None
    node = snapshot.nodes[environment][service]
    return workload(environment, pin, release, node=node, flags=found.flags)
