"""What of one environment can be followed: the pins that their releases can serve, and what is wrong with the others;
and what environments say of one another."""

from __future__ import annotations

import difflib
from bisect import bisect
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.engines import Kind
from reconciler.model.environment import Environment, Pin
from reconciler.model.errors import Problem
from reconciler.model.flags import misset, undeclared
from reconciler.model.layered import plain
from reconciler.model.misfits import misfits
from reconciler.model.parts import Merged
from reconciler.model.release import Release
from reconciler.model.renaming import misnamed
from reconciler.model.section import Section, name_of, releases_of, section_of
from reconciler.model.standing import clashes
from reconciler.model.train import astray
from reconciler.model.version import Version

Releases = Mapping[tuple[str, str], Release]
"""By service and version text."""
Sections = Mapping[str, Section]
Fitting = dict[tuple[Kind, bool], set[tuple[str, str]]]
"""By what of an environment that hangs on, the releases that serve a pin which asks for nothing else."""


class Followed(Struct, frozen=True):
    """One environment with those pins alone that their releases can serve, and what is wrong with the others."""

    environment: Environment
    nodes: Mapping[str, str]
    problems: frozenset[Problem]
    blind: frozenset[str]
    """Services whose pins cannot be followed."""
    unreleased: bool
    """A pin names no release: what is said of it hangs on all that is there of releases."""


class Related(Struct, frozen=True):
    """What environments say of one another. `misnamed`: those that cannot have been what they say."""

    misnamed: Mapping[str, Problem] = {}
    problems: frozenset[Problem] = frozenset()


class Served(Struct, frozen=True):
    """An environment as it was followed before, by these releases."""

    environment: Environment
    releases: Releases

    def still(self, now: Environment) -> Mapping[str, Pin]:
        """The pins that were served, where what that hangs on beside them and their releases is the same now."""
        was = self.environment
        same = was.driver.kind == now.driver.kind and was.hosts == now.hosts and was.flags == now.flags
        return was.pins if same else {}


def follow(
    merged: Merged,
    environment: Environment,
    releases: Releases,
    sections: Sections,
    fitting: Fitting,
    before: Served | None = None,
) -> Followed:
    """The environment with those pins alone that their release can serve; a pin that is the same as `before`, to the
    very same release, is not looked at again."""
    pins: dict[str, Pin] = {}
    found, pinned, problems = plain(releases), dict[str, Release | None](), set[Problem]()
    unreleased, kind, hosts = False, environment.driver.kind, environment.hosts
    fits = fitting.setdefault((kind, bool(hosts)), set())
    still, known = (before.still(environment), before.releases) if before else ({}, {})
    for service, pin in environment.pins.items():
        named = service, pin.version.text
        release = pinned[service] = found.get(named)
        if release is None:
            unreleased = True
            problems.add(_unreleased(pin, releases, sections))
            continue
        if still and still.get(service) == pin and known.get(named) is release:
            pins[service] = pin
            continue
        # Most often it was seen to fit elsewhere.
        if named not in fits or not pin.plain:
            if wrong := misfits(pin, release, environment.flags, kind, hosts):
                problems.update(wrong)
                continue
            if pin.plain and not release.flags:
                fits.add(named)
        pins[service] = pin
    problems.update(_idle_flags(environment, list(pinned.values()), sections, torn=bool(merged.torn)))
    whole = len(pins) == len(environment.pins)
    return Followed(
        environment=environment if whole else replace(environment, pins=pins),
        nodes=merged.nodes if whole else {service: merged.nodes[service] for service in pins},
        problems=frozenset(problems),
        blind=frozenset(environment.pins.keys() - pins.keys()),
        unreleased=unreleased,
    )


def related(followed: Mapping[str, Followed], names: Collection[str], sections: Sections) -> Related:
    """What environments say of one another; `names` are all that have a file at all."""
    environments = {name: one.environment for name, one in followed.items()}
    if not any(one.renamed_from or one.policy.promote for one in environments.values()):
        return Related()
    described = [section for section in sections.values() if section.environments]
    paths = {path for section in described for path in section.files}
    wrong = misnamed(environments, names, paths)
    for name in wrong:
        del environments[name]
    return Related(wrong, frozenset(astray(environments, names, paths)))


def _idle_flags(
    environment: Environment, found: Sequence[Release | None], sections: Sections, *, torn: bool
) -> list[Problem]:
    """Live flags with wrong values, or that two releases declare otherwise; and flags that nothing here declares:
    nobody can say so while a pin, or a pin's release, is out of sight."""
    pinned = [release for release in found if release]
    declaring = [release for release in pinned if release.flags]
    hidden = (
        torn or environment.name in sections[section_of(environment.name)].blind or len(pinned) < len(found)
    )
    wrong = [*misset(declaring, environment.flags).values(), *clashes(environment, declaring)]
    if hidden or not environment.flags:
        return wrong
    others = [one for service in environment.pins for one in releases_of(service, sections)]
    return [*wrong, *undeclared(pinned, environment.flags, others)]


def _unreleased(pin: Pin, releases: Releases, sections: Sections) -> Problem:
    """The problem of a pin to a release that is not there, with what it could say instead."""
    path, file = f"pins.{pin.service}", f"releases/{pin.service}/{pin.version}.yaml"
    section = sections.get(name_of(file))
    if section and file in section.files:
        return Problem(pin.place, path, f"release {pin.version} cannot be used", f"correct {file}")
    message = f"there is no release {pin.version}"
    versions = sorted(release.version for release in releases_of(pin.service, sections))
    if versions:
        near = ", ".join(map(str, _nearest(pin.version, versions)))
        return Problem(pin.place, path, message, f"add {file} or pin one of {near}")
    services = sorted({service for service, _ in releases})
    close = difflib.get_close_matches(pin.service, services, n=1)
    hint = f"; did you mean the service {close[0]}?" if close else ""
    return Problem(pin.place, path, f"{message} of {pin.service}", f"add {file}{hint}")


def _nearest(wanted: Version, versions: list[Version]) -> list[Version]:
    """At most three of the sorted versions: two below and one above, the highest first."""
    at = bisect(versions, wanted)
    return versions[max(0, at - 2) : at + 1][::-1]
