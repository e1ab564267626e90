"""One section of the tree by itself: a service's manifests, or an environment's files, and what is wrong with them.

A file is read and checked once for each blob and path, and remembered. A bad file affects only what it
describes, and what was good stays in force: the newest earlier content that is good stands in for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from msgspec import Struct

from reconciler.model.data import contradictions
from reconciler.model.document import SIZE_BYTES_MAX
from reconciler.model.document import read as read_document
from reconciler.model.errors import InputError, Place, Problem, printable
from reconciler.model.layout import REGULAR, File, is_document, misplaced
from reconciler.model.manifest import parse_release
from reconciler.model.parts import Merged, Part, main_is_missing, merge, parse_part
from reconciler.model.release import Release

OLDER_MAX = 20
REMEMBERED_MAX = 100_000

Older = Callable[[str], Iterable[tuple[str, bytes]]]
"""(path) -> earlier contents of that file, each with the commit that brought it, newest first."""
Load = Callable[[str], bytes]
"""(blob id) -> its bytes."""
Parsed = Release | Part | tuple[Problem, ...]
"""What a file describes, or what is wrong with it."""


Recall = Callable[[str, str], Release | Part | None]
"""(blob id, path) -> what an earlier process found there, if it is remembered."""


class Cache:
    """What files were found to describe, by blob and path. `parsed` counts the files that were really read.

    `recall`: what an earlier process found. Threads may share one: at worst they read a file twice.
    """

    def __init__(self, recall: Recall = lambda _oid, _path: None) -> None:
        self.parsed = 0
        self._recall = recall
        self._kept: dict[tuple[str, str], Parsed] = {}

    def parse(self, oid: str, path: str, load: Callable[[], bytes]) -> Parsed:
        """What the file describes; read only when this blob was not yet seen at this path."""
        key = (oid, path)
        known = self._kept.pop(key, None) or self._recall(oid, path)
        if known is None:
            self.parsed += 1
            known = _parse(load(), path)
        self._kept[key] = known  # last again: what was used longest ago stands first, and goes first
        if len(self._kept) > REMEMBERED_MAX:
            for old in list(self._kept)[: REMEMBERED_MAX // 10]:
                self._kept.pop(old, None)
        return known

    def known(self, oid: str, path: str) -> Parsed | None:
        """The same, where it was read or remembered already."""
        return self._kept.get((oid, path))

    def unknown(self, files: Iterable[File]) -> Iterator[File]:
        """Those that will have to be loaded."""
        return (
            file
            for file in files
            if (file.oid, file.path) not in self._kept
            and file.size <= SIZE_BYTES_MAX
            and is_document(file.path)
            and file.mode in REGULAR
            and self._recall(file.oid, file.path) is None
        )


class Section(Struct, frozen=True):
    """`files`: those that have a meaning, or stand where they may not, by path. `looked_back`: what an earlier commit
    said stands in for one of them."""

    files: Mapping[str, File]
    releases: Mapping[tuple[str, str], Release]
    environments: Mapping[str, Merged]
    problems: frozenset[Problem]
    blind: frozenset[str]
    """Environments in which a bad file hides what is pinned."""
    looked_back: bool


def name_of(path: str) -> str:
    """The section that a path belongs to. What differs in upper and lower case alone is in the same one."""
    top, _, rest = path.casefold().partition("/")
    return f"{top}/{rest.partition('/')[0].removesuffix('.yaml').removesuffix('.yml')}"


def section_of(environment: str) -> str:
    """The section that an environment's files make."""
    return f"environments/{environment.casefold()}"


def releases_of(service: str, sections: Mapping[str, Section]) -> list[Release]:
    """Every release of a service."""
    section = sections.get(f"releases/{service.casefold()}")
    return [one for one in section.releases.values() if one.service == service] if section else []


def matters(file: File) -> bool:
    """Whether anything is to be said of a file."""
    return is_document(file.path) or misplaced(file) is not None


def documents_of(files: Mapping[str, File]) -> list[File]:
    return [file for file in files.values() if is_document(file.path)]


def size_of(documents: Iterable[File]) -> int:
    """How many bytes of them are read: what is too large is refused without that."""
    return sum(file.size for file in documents if file.size <= SIZE_BYTES_MAX)


def read_section(files: Mapping[str, File], load: Load, cache: Cache, older: Older) -> Section:
    """What these files, all of one section, describe."""
    return _Reading(files, load, cache, older).section()


class _Reading:
    def __init__(self, files: Mapping[str, File], load: Load, cache: Cache, older: Older) -> None:
        self.files, self.load, self.cache, self.older = files, load, cache, older
        self.releases: dict[tuple[str, str], Release] = {}
        self.current: defaultdict[str, list[Part]] = defaultdict(list)
        self.stale: defaultdict[str, list[Part]] = defaultdict(list)
        self.names: set[str] = set()
        self.problems: set[Problem] = set()
        self.blind: set[str] = set()
        self.looked_back = False

    def section(self) -> Section:
        alike = len({*map(str.casefold, self.files)}) < len(self.files)
        folded = Counter(map(str.casefold, self.files)) if alike else Counter[str]()
        for file in self.files.values():
            problem = misplaced(file)
            if alike and folded[file.path.casefold()] > 1:
                message = "another file's name differs only in upper and lower case"
                place = Place(printable(file.path))
                self.spoil(file.path, Problem(place, "", message, "rename or remove one"))
            elif problem is not None and file.mode in REGULAR:
                self.spoil(file.path, problem)
            else:
                self.one(file, problem)
        for key, problem in contradictions(self.releases.values()).items():
            self.problems.add(problem)
            del self.releases[key]
        return Section(
            files=self.files,
            releases=self.releases,
            environments={name: self.merged(name) for name in sorted(self.names)},
            problems=frozenset(self.problems),
            blind=frozenset(self.blind),
            looked_back=self.looked_back,
        )

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
        self.looked_back = True
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

    def merged(self, name: str) -> Merged:
        found = merge(self.current[name], self.stale[name])
        self.problems.update(found.problems)
        if found.environment is None:
            self.blind.add(name)
            if not found.problems and f"environments/{name}/environment.yaml" not in self.files:
                self.problems.add(main_is_missing(name))
        return found


def _parse(data: bytes, path: str) -> Parsed:
    try:
        document = read_document(data, path)
        return parse_release(document) if path.startswith("releases/") else parse_part(document)
    except InputError as error:
        return error.problems
