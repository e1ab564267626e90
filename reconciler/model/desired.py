"""From a snapshot to what each environment should run, with releases frozen as they were first deployed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.environment import Environment, Pin
from reconciler.model.flags import described_as, mistyped
from reconciler.model.layered import differing, layered, sorted_with
from reconciler.model.release import Release
from reconciler.model.same import once
from reconciler.model.section import releases_of
from reconciler.model.snapshot import NOTHING, Snapshot
from reconciler.model.stamped import NOBODY, Stamped, otherwise
from reconciler.model.target import (
    FROZEN_FIELDS,
    RELEASES_KEPT_MAX,
    Workload,
    likewise,
    workload,
)
from reconciler.model.version import Version

Frozen = Mapping[tuple[str, str], Release]
"""(service, version) -> the release as it stood when it was first deployed anywhere."""


class Desired(Struct, frozen=True, gc=False):
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
    flagged: bool = False
    """Whether a release of its workloads declares flags."""


def alike(one: Desired, other: Desired) -> bool:
    """Whether both ask for the same, be it at another revision. Told by what was kept: it may say no in vain."""
    return (
        one.environment is other.environment
        and one.workloads is other.workloads
        and one.blind == other.blind
        and one.hidden == other.hidden
        and one.gone == other.gone
    )


def moved(before: Mapping[str, Desired], now: Mapping[str, Desired]) -> list[str]:
    """The names of those in `now` that were not there before, or that may ask for something else."""
    names = otherwise(before, now)
    looked_at = now if names is None else names
    return [name for name in looked_at if name not in before or not alike(before[name], now[name])]


class _Resolved(Struct, frozen=True):
    """What was asked for at one revision, and what it was worked out of."""

    snapshot: Snapshot
    frozen: Frozen
    unread: Mapping[str, frozenset[str]]
    """By environment: services whose pins cannot be followed."""
    releases: Mapping[str, Mapping[Version, Release]]
    found: Stamped


class Resolver:
    """Works out anew only what changed since it was asked last; the answer is the same as without that.

    Whoever asks about one revision after another has one of his own: another's question would displace what it knows.
    """

    def __init__(self) -> None:
        self._last = _Resolved(NOTHING, {}, {}, {}, NOBODY)

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
    changed = differing(last.snapshot.releases, snapshot.releases) | differing(last.frozen, frozen)
    renewed = frozenset(service for service, _ in changed)
    releases = _releases(last.releases, snapshot, frozen, renewed) if renewed else last.releases
    unread = defaultdict[str, set[str]](set)
    for name, service in snapshot.blind_pins:
        unread[name].add(service)
    made = _Resolved(
        snapshot, frozen, {name: frozenset(services) for name, services in unread.items()}, releases, NOBODY
    )
    plain = dict[tuple[str, str], Workload]()
    before, anew = last.found, _anew(last, made, renewed)
    now = {
        name: _asked_for(before.kept.get(name), made, name, plain, renewed)
        for name in anew
        if name in snapshot.environments
    }
    found = Stamped(
        sorted_with(before.kept, anew, now),
        snapshot.revision,
        releases,
        (before.renaming - anew).union(name for name, one in now.items() if one.environment.renamed_from),
        (before.promoting - anew).union(name for name, one in now.items() if one.environment.policy.promote),
    )
    return replace(made, found=found)


def _anew(last: _Resolved, now: _Resolved, renewed: frozenset[str]) -> set[str]:
    """The environments of which something is asked otherwise, or may be: told by what was kept.

    Pins that cannot be followed hang on what else is there.
    """
    before, after = last.snapshot, now.snapshot
    found = differing(before.environments, after.environments) | differing(before.nodes, after.nodes)
    found |= before.blind ^ after.blind
    found.update(
        name
        for name in last.unread.keys() | now.unread.keys()
        if last.unread.get(name) != now.unread.get(name)
    )
    if renewed:
        found.update(
            name for name, one in after.environments.items() if not one.pins.keys().isdisjoint(renewed)
        )
    return found


def _releases(
    known: Mapping[str, Mapping[Version, Release]],
    snapshot: Snapshot,
    frozen: Frozen,
    renewed: frozenset[str],
) -> Mapping[str, Mapping[Version, Release]]:
    """By service every release in force."""
    found = {
        service: {one.version: in_force(one, frozen) for one in releases}
        for service in renewed
        if (releases := releases_of(service, snapshot.sections))
    }
    return layered(known).changed(found, renewed - found.keys())


def _asked_for(
    before: Desired | None,
    now: _Resolved,
    name: str,
    plain: dict[tuple[str, str], Workload],
    renewed: frozenset[str],
) -> Desired:
    """What an environment asks for, at whatever revision; of a pin that is as it was `before`, the very same.

    `renewed`: the services of which some release is another than before. `plain`: by service and version what such a
    pin asks for that asks for nothing else; filled on the way.
    """
    snapshot = now.snapshot
    environment, nodes = snapshot.environments[name], snapshot.nodes[name]
    unread = now.unread.get(name, frozenset())
    known = before if before and before.environment.flags == environment.flags else None
    stood = known.workloads if known else {}
    pins = known.environment.pins if known else {}
    workloads, blind, flagged = dict[str, Workload](), set(unread), False
    for service, pin in environment.pins.items():
        work = stood.get(service) if stood else None
        if work is not None and (
            work.node != nodes[service]
            or pins[service] != pin
            or service in unread
            or (service in renewed and not _still(work, pin, now))
        ):
            work = None
        if work is None:
            key = (service, pin.version.text)
            alone = pin.plain and service not in unread
            if alone and key in plain:
                work = likewise(plain[key], name, pin, nodes[service])
            else:
                work = asked_of(snapshot, name, service, now.frozen)
                if work and alone and not work.release.flags:
                    plain[key] = work
        if work is None:
            blind.add(service)
        else:
            workloads[service] = work
            if work.release.flags:
                flagged = True
    return Desired(
        revision="",
        environment=environment,
        # Most often a release has but frozen as it stood: what is equal stays the very same.
        workloads=before.workloads if before and before.workloads == workloads else workloads,
        blind=frozenset(blind),
        hidden=name in snapshot.blind,
        flagged=flagged,
    )


def _still(work: Workload, pin: Pin, now: _Resolved) -> bool:
    """Whether the release of what a pin asked for is in force as it was."""
    return in_force(now.snapshot.releases[pin.service, pin.version.text], now.frozen) is work.release


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


def in_force(release: Release, frozen: Frozen) -> Release:
    """The release with the fields of its target as they froze.

    Notes, health, withdrawal and the descriptions of flags may change.
    """
    kept = frozen.get((release.service, release.version.text))
    return release if kept is None else _as_frozen(release, kept)


@once(RELEASES_KEPT_MAX)
def _as_frozen(release: Release, kept: Release) -> Release:
    if kept == release:  # as nearly always
        return release
    fields = {name: getattr(kept, name) for name in FROZEN_FIELDS}
    made = replace(release, **fields | {"flags": described_as(kept.flags, release.flags)})
    # The very same, where it is as it froze: what is asked stays as it was.
    return release if made == release else made


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
