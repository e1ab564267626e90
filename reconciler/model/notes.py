"""Release notes: what lies between two versions of a service, and what an environment got between two revisions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from reconciler.model.environment import Environment
from reconciler.model.release import Release
from reconciler.model.version import Version

Catalogue = Mapping[str, Sequence[Release]]
"""By service, its releases, newest first."""


class Gain(Struct, frozen=True):
    """One service that went from a version (None: it is new) to another, and the releases in between.

    Going up, `releases` are those that it got; going down, those that it lost. Newest first.
    """

    service: str
    before: Version | None
    after: Version
    releases: tuple[Release, ...]

    @property
    def down(self) -> bool:
        return self.before is not None and self.after < self.before


def catalogue(releases: Iterable[Release]) -> Catalogue:
    """The releases of each service, newest first."""
    found: defaultdict[str, list[Release]] = defaultdict(list)
    for release in sorted(releases, key=lambda release: release.version, reverse=True):
        found[release.service].append(release)
    return found


def between(known: Catalogue, service: str, before: Version | None, after: Version) -> tuple[Release, ...]:
    """The releases above the lower version, up to the higher one; the one alone where nothing was before."""
    low, high = sorted((before, after)) if before else (None, after)
    return tuple(
        release
        for release in known.get(service, ())
        if release.version == high or (low is not None and low < release.version < high)
        if release.version != low
    )


def gains(known: Catalogue, before: Environment | None, after: Environment) -> list[Gain]:
    """Every service of which an environment pins another version than it did, by name."""
    was = {service: pin.version for service, pin in before.pins.items()} if before else {}
    return [
        Gain(service, was.get(service), pin.version, between(known, service, was.get(service), pin.version))
        for service, pin in sorted(after.pins.items())
        if pin.version != was.get(service)
    ]
