"""The whole repository at one revision: what is good in it, and what is wrong with the rest.

A file is read and checked once for each blob and path, and remembered. A bad file affects only what it
describes, and what was good stays in force: the newest earlier content that is good stands in for it.
"""

from __future__ import annotations

import difflib
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.data import contradictions
from reconciler.model.document import SIZE_BYTES_MAX
from reconciler.model.document import read as read_document
from reconciler.model.environment import Environment, Pin
from reconciler.model.errors import InputError, Place, Problem
from reconciler.model.flags import misset, undeclared
from reconciler.model.layout import REGULAR, File, is_document, misplaced, printable
from reconciler.model.manifest import Part, main_is_missing, merge, parse_part, parse_release
from reconciler.model.misfits import misfits
from reconciler.model.release import Release
from reconciler.model.renaming import misnamed
from reconciler.model.standing import clashes
from reconciler.model.train import astray
from reconciler.model.version import Version

FILES_MAX = 50_000
TOTAL_BYTES_MAX = 64 << 20
OLDER_MAX = 20
REMEMBERED_MAX = 100_000

Older = Callable[[str], Iterable[tuple[str, bytes]]]
"""(path) -> earlier contents of that file, each with the commit that brought it, newest first."""
Parsed = Release | Part | tuple[Problem, ...]
"""What a file describes, or what is wrong with it."""


class Snapshot(Struct, frozen=True):
    """The repository at one revision."""

    revision: str
    releases: dict[tuple[str, str], Release]
    """By service and version text."""
    environments: dict[str, Environment]
    """Only pins that are in force."""
    nodes: dict[tuple[str, str], str]
    """By environment and service: the pin's value as canonical JSON."""
    problems: tuple[Problem, ...]
    blind: frozenset[str]
    """Environments in which a bad file hides what is pinned: what is absent there was not removed."""
    blind_pins: frozenset[tuple[str, str]]
    """By environment and service: pins that are there and cannot be followed."""

    @property
    def empty(self) -> bool:
        """Whether nothing that has a meaning is left in the repository, not even a bad file."""
        return not (self.releases or self.environments or self.problems)


class Cache:
    """What files were found to describe, by blob and path. `parsed` counts the files that were really read.

    Threads may share one: at worst they read a file twice.
    """

    def __init__(self) -> None:
        self.parsed = 0
        self._kept: dict[tuple[str, str], Parsed] = {}

    def parse(self, oid: str, path: str, load: Callable[[], bytes]) -> Parsed:
        """What the file describes; read only when this blob was not yet seen at this path."""
        key = (oid, path)
        known = self._kept.pop(key, None)
        if known is None:
            self.parsed += 1
            known = _parse(load(), path)
        self._kept[key] = known  # last again: what was used longest ago stands first, and goes first
        if len(self._kept) > REMEMBERED_MAX:
            for old in list(self._kept)[: REMEMBERED_MAX // 10]:
                self._kept.pop(old, None)
        return known


def read(
    revision: str, files: Iterable[File], load: Callable[[str], bytes], cache: Cache, older: Older
) -> Snapshot:
    """The repository at `revision`, given every file under `releases/` and `environments/`.

    `load` gives a blob's bytes by its id. Raises InputError only where there is more than can be read at all.
    """
    reading = _Reading(load, cache, older)
    reading.take(files)
    return reading.snapshot(revision)


class _Reading:
    """One pass over a tree: files first, then what they make together."""

    def __init__(self, load: Callable[[str], bytes], cache: Cache, older: Older) -> None:
        self.load, self.cache, self.older = load, cache, older
        self.paths: set[str] = set()
        self.releases: dict[tuple[str, str], Release] = {}
        self.current: defaultdict[str, list[Part]] = defaultdict(list)
        self.stale: defaultdict[str, list[Part]] = defaultdict(list)
        self.names: set[str] = set()
        self.problems: set[Problem] = set()
        self.blind: set[str] = set()
        self.blind_pins: set[tuple[str, str]] = set()

    def take(self, files: Iterable[File]) -> None:
        files = list(files)
        if whole := next((file.path for file in files if "/" not in file.path), None):
            # Were it read as an empty folder, everything in it would count as removed.
            raise InputError(Problem(Place(whole), "", "this is not a folder", "put the folder back"))
        documents = [file for file in files if is_document(file.path)]
        to_load = sum(file.size for file in documents if file.size <= SIZE_BYTES_MAX)
        if len(documents) > FILES_MAX or to_load > TOTAL_BYTES_MAX:
            limits = f"{FILES_MAX} files and {TOTAL_BYTES_MAX >> 20} MiB"
            message = f"the repository holds more than {limits} of YAML"
            raise InputError(Problem(Place("releases"), "", message, "move old releases out"))
        chosen = [(file, problem) for file in files if (problem := misplaced(file)) or is_document(file.path)]
        self.paths = {file.path for file, _ in chosen}
        folded = Counter(path.casefold() for path in self.paths)
        for file, problem in chosen:
            if folded[file.path.casefold()] > 1:
                place = Place(printable(file.path))
                message = "another file's name differs only in upper and lower case"
                self.spoil(file.path, Problem(place, "", message, "rename or remove one"))
            elif problem is not None and file.mode in REGULAR:
                self.spoil(file.path, problem)
            else:
                self.one(file, problem)

    def one(self, file: File, problem: Problem | None) -> None:
        """A file in its right place: what it describes, or what it last described well."""
        if problem is None and file.size > SIZE_BYTES_MAX:
            message = f"the file is larger than {SIZE_BYTES_MAX} bytes"
            problem = Problem(Place(file.path), "", message, "split it")
        parsed: Parsed = (problem,) if problem else ()
        if problem is None:
            parsed = self.cache.parse(file.oid, file.path, lambda: self.load(file.oid))
        if not isinstance(parsed, tuple):
            self.keep(parsed, self.current)
            return
        stand_in = self.last_good(file.path) if is_document(file.path) else None
        if stand_in is None:
            self.spoil(file.path, *parsed)
        else:
            self.problems.update(parsed)
            self.keep(stand_in, self.stale)

    def last_good(self, path: str) -> Release | Part | None:
        for commit, data in islice(self.older(path), OLDER_MAX):
            parsed = self.cache.parse(commit, path, lambda data=data: data)  # type: ignore[misc]  # bound now
            if not isinstance(parsed, tuple):
                return parsed
        return None

    def keep(self, parsed: Release | Part, parts: defaultdict[str, list[Part]]) -> None:
        if isinstance(parsed, Release):
            self.releases[parsed.service, parsed.version.text] = parsed
        else:
            parts[parsed.name].append(parsed)
            self.names.add(parsed.name)

    def spoil(self, path: str, *problems: Problem) -> None:
        """Nothing is known of what this file describes now."""
        self.problems.update(problems)
        if path.startswith("environments/"):
            name = path.split("/")[1].removesuffix(".yaml").removesuffix(".yml")
            self.blind.add(name)

    def snapshot(self, revision: str) -> Snapshot:
        for key, problem in contradictions(self.releases.values()).items():
            self.problems.add(problem)
            del self.releases[key]
        environments: dict[str, Environment] = {}
        nodes: dict[tuple[str, str], str] = {}
        for name in sorted(self.names):
            merged = merge(self.current[name], self.stale[name])
            self.problems.update(merged.problems)
            self.blind_pins.update((name, service) for service in merged.torn)
            if merged.environment is None:
                self.blind.add(name)
                if not merged.problems and f"environments/{name}/environment.yaml" not in self.paths:
                    self.problems.add(main_is_missing(name))
                continue
            environments[name] = self.followable(merged.environment)
            nodes.update(((name, service), merged.nodes[service]) for service in environments[name].pins)
        for name, problem in misnamed(environments, self.names | self.blind, self.paths).items():
            self.spoil(problem.place.file, problem)
            del environments[name]
        self.problems.update(astray(environments, self.names | self.blind, self.paths))
        return Snapshot(
            revision=revision,
            releases=self.releases,
            environments=environments,
            nodes=nodes,
            problems=tuple(sorted(self.problems)),
            blind=frozenset(self.blind),
            blind_pins=frozenset(self.blind_pins),
        )

    def followable(self, environment: Environment) -> Environment:
        """The environment with those pins alone that their release can serve."""
        pins: dict[str, Pin] = {}
        self.problems.update(self.idle_flags(environment))
        for service, pin in environment.pins.items():
            release = self.releases.get((service, pin.version.text))
            found = (
                misfits(pin, release, environment.flags, environment.driver.kind, environment.hosts)
                if release
                else [self.unreleased(pin)]
            )
            if found:
                self.problems.update(found)
                self.blind_pins.add((environment.name, service))
            else:
                pins[service] = pin
        return replace(environment, pins=pins)

    def idle_flags(self, environment: Environment) -> list[Problem]:
        """Live flags with wrong values, or that two releases declare otherwise; and flags that nothing here declares:
        nobody can say so while a pin, or a pin's release, is out of sight."""
        pinned = [self.releases.get((pin.service, pin.version.text)) for pin in environment.pins.values()]
        releases = [release for release in pinned if release]
        torn = environment.name in {name for name, _ in self.blind_pins}
        hidden = torn or environment.name in self.blind or len(releases) < len(pinned)
        wrong = [*misset(releases, environment.flags).values(), *clashes(environment, releases)]
        if hidden:
            return wrong
        others = [one for one in self.releases.values() if one.service in environment.pins]
        return [*wrong, *undeclared(releases, environment.flags, others)]

    def unreleased(self, pin: Pin) -> Problem:
        """The problem of a pin to a release that is not there, with what it could say instead."""
        path, file = f"pins.{pin.service}", f"releases/{pin.service}/{pin.version}.yaml"
        if file in self.paths:
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


def _parse(data: bytes, path: str) -> Parsed:
    try:
        document = read_document(data, path)
        return parse_release(document) if path.startswith("releases/") else parse_part(document)
    except InputError as error:
        return error.problems


def _nearest(wanted: Version, versions: list[Version]) -> list[Version]:
    """At most three of the sorted versions: two below and one above, the highest first."""
    at = bisect(versions, wanted)
    return versions[max(0, at - 2) : at + 1][::-1]
