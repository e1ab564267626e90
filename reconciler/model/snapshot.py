"""The whole repository at one revision: what is good in it, and what is wrong with the rest.

It is put together of its sections. Of another revision those alone are read anew whose files differ, and of the
environments those alone put together anew that one of these sections concerns.
"""

from __future__ import annotations

import difflib
from bisect import bisect
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.engines import Kind
from reconciler.model.environment import Environment, Pin
from reconciler.model.errors import InputError, Place, Problem
from reconciler.model.flags import misset, undeclared
from reconciler.model.layout import File
from reconciler.model.manifest import Merged
from reconciler.model.misfits import misfits
from reconciler.model.release import Release
from reconciler.model.renaming import misnamed
from reconciler.model.section import (
    Cache,
    Load,
    Older,
    Section,
    documents_of,
    matters,
    name_of,
    read_section,
    size_of,
)
from reconciler.model.standing import clashes
from reconciler.model.train import astray
from reconciler.model.version import Version

__all__ = ["Cache", "Snapshot", "read", "reread"]
FILES_MAX = 50_000
TOTAL_BYTES_MAX = 64 << 20
Changes = Mapping[str, File | None]
"""By path, what stands there now; None where nothing does any more."""


class Followed(Struct, frozen=True):
    """One environment with those pins alone that their releases can serve, and what is wrong with the others."""

    environment: Environment
    nodes: Mapping[str, str]
    problems: frozenset[Problem]
    blind: frozenset[str]
    """Services whose pins cannot be followed."""
    unreleased: bool
    """A pin names no release: what is said of it hangs on all that is there of releases."""


class Snapshot(Struct, frozen=True):
    """The repository at one revision."""

    revision: str
    releases: Mapping[tuple[str, str], Release]
    """By service and version text."""
    environments: Mapping[str, Environment]
    """Only pins that are in force."""
    nodes: Mapping[str, Mapping[str, str]]
    """By environment and service: the pin's value as canonical JSON."""
    problems: tuple[Problem, ...]
    blind: frozenset[str]
    """Environments in which a bad file hides what is pinned: what is absent there was not removed."""
    blind_pins: frozenset[tuple[str, str]]
    """By environment and service: pins that are there and cannot be followed."""
    sections: Mapping[str, Section] = {}
    """What it was put together of, by name."""
    followed: Mapping[str, Followed] = {}
    documents: int = 0
    """So many files were read for it, of `size_bytes`."""
    size_bytes: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing that has a meaning is left in the repository, not even a bad file."""
        return not (self.releases or self.environments or self.problems)


def read(revision: str, files: Iterable[File], load: Load, cache: Cache, older: Older) -> Snapshot:
    """The repository at `revision`, given every file under `releases/` and `environments/`.

    `load` gives a blob's bytes by its id. Raises InputError only where there is more than can be read at all.
    """
    nothing, listed = Snapshot(revision, {}, {}, {}, (), frozenset(), frozenset()), list(files)
    if len(listed) > FILES_MAX:  # before any of them is looked at more closely
        _measured(nothing, {"": {file.path: file for file in listed}})
    return reread(nothing, revision, {file.path: file for file in listed}, load, cache, older)


def reread(
    before: Snapshot, revision: str, changes: Changes, load: Load, cache: Cache, older: Older
) -> Snapshot:
    """The repository at `revision`, which differs from the one of `before` in these files; else as `read`."""
    grouped: defaultdict[str, dict[str, File | None]] = defaultdict(dict)
    for path, file in changes.items():
        if "/" not in path and file is not None:
            # Were it read as an empty folder, everything in it would count as removed.
            raise InputError(Problem(Place(path), "", "this is not a folder", "put the folder back"))
        grouped[name_of(path)][path] = file if file is not None and matters(file) else None
    for name, section in before.sections.items():
        if section.looked_back:
            grouped[name] |= {}  # an earlier commit is another one now
    wanted = {name: _applied(before.sections.get(name), parts) for name, parts in grouped.items()}
    documents, size_bytes = _measured(before, wanted)
    sections = dict(before.sections)
    touched = set[str]()
    for name, files in wanted.items():
        old = sections.get(name)
        if old is not None and old.files == files and not old.looked_back:
            continue
        touched.add(name)
        if files:
            sections[name] = read_section(files, load, cache, older)
        else:
            sections.pop(name, None)
    made = _Composition(before, sections, touched).snapshot(revision)
    return replace(made, documents=documents, size_bytes=size_bytes)


def _applied(section: Section | None, parts: Mapping[str, File | None]) -> dict[str, File]:
    """A section's files with these changed, by path."""
    changed = dict(section.files) if section else {}
    for path, file in parts.items():
        if file is None:
            changed.pop(path, None)
        else:
            changed[path] = file
    return dict(sorted(changed.items())) if section and section.files else changed


def _measured(before: Snapshot, wanted: Mapping[str, Mapping[str, File]]) -> tuple[int, int]:
    """How many documents there are, of how many bytes. Raises InputError before anything of too much is read."""
    count = before.documents
    size_bytes = before.size_bytes
    for name in wanted.keys() & before.sections.keys():
        count -= before.sections[name].documents
        size_bytes -= before.sections[name].size_bytes
    for files in wanted.values():
        documents = documents_of(files)
        count += len(documents)
        size_bytes += size_of(documents)
    if count > FILES_MAX or size_bytes > TOTAL_BYTES_MAX:
        limits = f"{FILES_MAX} files and {TOTAL_BYTES_MAX >> 20} MiB"
        message = f"the repository holds more than {limits} of YAML"
        raise InputError(Problem(Place("releases"), "", message, "move old releases out"))
    return count, size_bytes


class _Composition:
    """What the sections make together; what none of the `touched` concerns is as it was `before`."""

    def __init__(self, before: Snapshot, sections: dict[str, Section], touched: Collection[str]) -> None:
        self.before, self.sections, self.touched = before, sections, touched
        self.releases, self.renewed = self._releases()
        self.problems: set[Problem] = set()
        self.blind: set[str] = set()
        self.fitting = set[tuple[Kind, bool, str, str]]()
        """Releases that serve a pin which asks for nothing else, by what of its environment that hangs on."""

    def _releases(self) -> tuple[Mapping[tuple[str, str], Release], frozenset[str]]:
        """Every release, and the services of which one is another than before."""
        dropped, added = dict[tuple[str, str], Release](), dict[tuple[str, str], Release]()
        for name in self.touched:
            if name in self.before.sections:
                dropped.update(self.before.sections[name].releases)
            if name in self.sections:
                added.update(self.sections[name].releases)
        if not dropped and not added:
            return self.before.releases, frozenset()
        kept = {key: release for key, release in self.before.releases.items() if key not in dropped}
        services = frozenset(service for service, _ in (*dropped, *added))
        return kept | added, services

    def snapshot(self, revision: str) -> Snapshot:
        merged: dict[str, Merged] = {}
        for section in self.sections.values():
            if section.environments:
                merged.update(section.environments)
            if section.problems or section.blind:
                self.problems |= section.problems
                self.blind |= section.blind
        followed = {
            name: self.followed(name, merged[name], environment)
            for name in sorted(merged)
            if (environment := merged[name].environment)
        }
        environments = {name: one.environment for name, one in followed.items()}
        for one in followed.values():
            if one.problems:
                self.problems |= one.problems
        self.check_names(environments, merged.keys() | self.blind)
        blind_pins = {(name, service) for name, one in merged.items() if one.torn for service in one.torn}
        blind_pins.update(
            (name, service) for name, one in followed.items() if one.blind for service in one.blind
        )
        return Snapshot(
            revision=revision,
            releases=self.releases,
            environments=environments,
            nodes={name: followed[name].nodes for name in environments},
            problems=tuple(sorted(self.problems)),
            blind=frozenset(self.blind),
            blind_pins=frozenset(blind_pins),
            sections=self.sections,
            followed=followed,
        )

    def followed(self, name: str, merged: Merged, environment: Environment) -> Followed:
        known = self.before.followed.get(name)
        if known is None or name_of(f"environments/{name}") in self.touched:
            return self.follow(merged, environment)
        if known.unreleased and any(one.startswith("releases/") for one in self.touched):
            return self.follow(merged, environment)
        concerned = any(service in environment.pins for service in self.renewed)
        return self.follow(merged, environment) if concerned else known

    def follow(self, merged: Merged, environment: Environment) -> Followed:
        """The environment with those pins alone that their release can serve."""
        pins: dict[str, Pin] = {}
        problems = set(self.idle_flags(environment, torn=bool(merged.torn)))
        unreleased = False
        for service, pin in environment.pins.items():
            release = self.releases.get((service, pin.version.text))
            if release is None:
                unreleased = True
                found = [self.unreleased(pin)]
            elif not pin.plain:
                found = misfits(pin, release, environment.flags, environment.driver.kind, environment.hosts)
            else:
                found = self.plain_misfits(pin, release, environment)
            if found:
                problems.update(found)
            else:
                pins[service] = pin
        whole = len(pins) == len(environment.pins)
        return Followed(
            environment=environment if whole else replace(environment, pins=pins),
            nodes=merged.nodes if whole else {service: merged.nodes[service] for service in pins},
            problems=frozenset(problems),
            blind=frozenset(environment.pins.keys() - pins.keys()),
            unreleased=unreleased,
        )

    def plain_misfits(self, pin: Pin, release: Release, environment: Environment) -> list[Problem]:
        """The same for a pin that asks for nothing but a version: most often it was seen to fit elsewhere."""
        kind, hosts = environment.driver.kind, environment.hosts
        key = (kind, bool(hosts), pin.service, pin.version.text)
        if key in self.fitting:
            return []
        found = misfits(pin, release, environment.flags, kind, hosts)
        if not found and not release.flags:
            self.fitting.add(key)
        return found

    def idle_flags(self, environment: Environment, *, torn: bool) -> list[Problem]:
        """Live flags with wrong values, or that two releases declare otherwise; and flags that nothing here declares:
        nobody can say so while a pin, or a pin's release, is out of sight."""
        pinned = [self.releases.get((pin.service, pin.version.text)) for pin in environment.pins.values()]
        releases = [release for release in pinned if release]
        section = self.sections[name_of(f"environments/{environment.name}")]
        hidden = torn or environment.name in section.blind or len(releases) < len(pinned)
        wrong = [*misset(releases, environment.flags).values(), *clashes(environment, releases)]
        if hidden or not environment.flags:
            return wrong
        others = [one for one in self.releases.values() if one.service in environment.pins]
        return [*wrong, *undeclared(releases, environment.flags, others)]

    def check_names(self, environments: dict[str, Environment], names: Collection[str]) -> None:
        """What environments say of one another. Those that cannot have been what they say are taken out."""
        if not any(one.renamed_from or one.policy.promote for one in environments.values()):
            return
        described = [section for section in self.sections.values() if section.environments]
        paths = {path for section in described for path in section.files}
        for name, problem in misnamed(environments, names, paths).items():
            self.problems.add(problem)
            self.blind.add(name)
            del environments[name]
        self.problems.update(astray(environments, names, paths))

    def unreleased(self, pin: Pin) -> Problem:
        """The problem of a pin to a release that is not there, with what it could say instead."""
        path, file = f"pins.{pin.service}", f"releases/{pin.service}/{pin.version}.yaml"
        section = self.sections.get(name_of(file))
        if section and file in section.files:
            return Problem(pin.place, path, f"release {pin.version} cannot be used", f"correct {file}")
        message = f"there is no release {pin.version}"
        versions = sorted(
            release.version for release in self.releases.values() if release.service == pin.service
        )
        if versions:
            near = ", ".join(map(str, _nearest(pin.version, versions)))
            return Problem(pin.place, path, message, f"add {file} or pin one of {near}")
        services = sorted({service for service, _ in self.releases})
        close = difflib.get_close_matches(pin.service, services, n=1)
        hint = f"; did you mean the service {close[0]}?" if close else ""
        return Problem(pin.place, path, f"{message} of {pin.service}", f"add {file}{hint}")


def _nearest(wanted: Version, versions: list[Version]) -> list[Version]:
    """At most three of the sorted versions: two below and one above, the highest first."""
    at = bisect(versions, wanted)
    return versions[max(0, at - 2) : at + 1][::-1]
