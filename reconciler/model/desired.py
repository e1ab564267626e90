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


def alike(one: Desired, other: Desired) -> bool:
    """Whether both ask for the same, be it at another revision. Told by what was kept: it may say no in vain."""
    return (
        one.environment is other.environment
        and one.workloads is other.workloads
        and one.blind == other.blind
        and one.hidden == other.hidden
        and one.gone == other.gone
    )


class _Resolved(Struct, frozen=True):
    """What was asked for at one revision, and what it was worked out of."""

    snapshot: Snapshot
    frozen: Frozen
    unread: Mapping[str, frozenset[str]]
    """By environment: services whose pins cannot be followed."""
    releases: Mapping[str, Mapping[Version, Release]]
    found: Mapping[str, Desired]


class Resolver:
    """Works out anew only what changed since it was asked last; the answer is the same as without that.

    Whoever asks about one revision after another has one of his own: another's question would displace what it knows.
    """

    def __init__(self) -> None:
        self._last = _Resolved(_NOTHING, {}, {}, {}, {})

    def beside(self) -> Resolver:
        """Another one, which knows as much to begin with."""
        made = Resolver()
        made._last = self._last
        return made

    def __call__(self, snapshot: Snapshot, frozen: Frozen) -> Mapping[str, Desired]:
        """What every environment of the snapshot asks for."""
        last = self._last
        if last.snapshot is not snapshot or last.frozen is not frozen:
            last = self._last = _resolved(last, snapshot, frozen)
        return last.found


def _resolved(last: _Resolved, snapshot: Snapshot, frozen: Frozen) -> _Resolved:
    renewed = _differing(last.snapshot.releases, snapshot.releases) | _differing(last.frozen, frozen)
    releases = _releases(last.releases, snapshot, frozen, renewed) if renewed else last.releases
    unread = defaultdict[str, set[str]](set)
    for name, service in snapshot.blind_pins:
        unread[name].add(service)
    made = _Resolved(
        snapshot, frozen, {name: frozenset(services) for name, services in unread.items()}, releases, {}
    )
    found = {name: _asked_for(last, made, name, renewed) for name in snapshot.environments}
    return replace(made, found=found)


def _differing(before: Frozen, after: Frozen) -> frozenset[str]:
    """The services of which a release is another object, or gone."""
    if before is after:
        return frozenset()
    found = {
        service for (service, version), one in after.items() if before.get((service, version)) is not one
    }
    return frozenset(found.union(key[0] for key in before if key not in after))


def _releases(
    known: Mapping[str, Mapping[Version, Release]],
    snapshot: Snapshot,
    frozen: Frozen,
    renewed: frozenset[str],
) -> Mapping[str, Mapping[Version, Release]]:
    """By service every release in force."""
    found = defaultdict[str, dict[Version, Release]](dict)
    for (service, _), release in snapshot.releases.items():
        if service in renewed:
            found[service][release.version] = in_force(release, frozen)
    return {service: those for service, those in known.items() if service not in renewed} | found


def _alike(last: _Resolved, now: _Resolved, name: str, renewed: frozenset[str]) -> bool:
    """Whether an environment asks for what it asked for. Pins that cannot be followed hang on what else is there."""
    before, after = last.snapshot, now.snapshot
    return (
        name in last.found
        and before.environments[name] is after.environments[name]
        and before.nodes[name] is after.nodes[name]
        and last.unread.get(name) == now.unread.get(name)
        and (name in before.blind) == (name in after.blind)
        and not any(service in after.environments[name].pins for service in renewed)
    )


def _asked_for(last: _Resolved, now: _Resolved, name: str, renewed: frozenset[str]) -> Desired:
    snapshot, before = now.snapshot, last.found.get(name)
    if before and _alike(last, now, name, renewed):
        return replace(before, revision=snapshot.revision, releases=now.releases)
    environment = snapshot.environments[name]
    asked = {service: asked_of(snapshot, name, service, now.frozen) for service in environment.pins}
    workloads = {service: work for service, work in asked.items() if work is not None}
    unread = now.unread.get(name, frozenset())
    return Desired(
        revision=snapshot.revision,
        environment=environment,
        # Most often a release has but frozen as it stood: what is equal stays the very same.
        workloads=before.workloads if before and before.workloads == workloads else workloads,
        blind=unread.union(service for service, work in asked.items() if work is None),
        hidden=name in snapshot.blind,
        releases=now.releases,
    )


_NOTHING = Snapshot("", {}, {}, {}, (), frozenset(), frozenset())


def resolve(snapshot: Snapshot, frozen: Frozen) -> Mapping[str, Desired]:
    """What every environment of one snapshot asks for, worked out from nothing."""
    return Resolver()(snapshot, frozen)


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
    return _thawed(snapshot.releases, frozen)


@once(1)
def _thawed(releases: Mapping[tuple[str, str], Release], frozen: Frozen) -> list[Problem]:
    return [
        Problem(
            release.place,
            "",
            f"{service} {version} was deployed and is frozen, and this file no longer describes what was deployed",
            f"put its {', '.join(FROZEN_FIELDS)} back, and publish the change as a new version",
        )
        for (service, version), release in releases.items()
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
