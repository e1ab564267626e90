"""The whole repository at one revision: what is good in it, and what is wrong with the rest.

It is put together of its sections. Of another revision those alone are read anew whose files differ, and of the
environments those alone put together anew that one of these sections concerns. What is wrong is gathered from where
something is: what is right is not looked through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.environment import Environment
from reconciler.model.errors import InputError, Place, Problem
from reconciler.model.followed import Fitting, Followed, Related, Served, follow, related
from reconciler.model.layered import layered, sorted_with
from reconciler.model.layout import File
from reconciler.model.parts import Merged
from reconciler.model.release import Release
from reconciler.model.section import (
    Cache,
    Load,
    Older,
    Section,
    documents_of,
    matters,
    name_of,
    read_section,
    section_of,
    size_of,
)

__all__ = ["NOTHING", "Cache", "Snapshot", "read", "reread"]
T = TypeVar("T")
FILES_MAX = 50_000
TOTAL_BYTES_MAX = 64 << 20
Changes = Mapping[str, File | None]
"""By path, what stands there now; None where nothing does any more."""


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
    merged: Mapping[str, Merged] = {}
    followed: Mapping[str, Followed] = {}
    """By environment; also those that are left out for what they say of others."""
    faulty: frozenset[str] = frozenset()
    """Sections of which something is wrong."""
    partial: frozenset[str] = frozenset()
    """Environments of which some pin, or something about it, is wrong."""
    unreleased: frozenset[str] = frozenset()
    """Environments that pin a release which is not there."""
    related: Related = Related()
    documents: int = 0
    """So many files were read for it, of `size_bytes`."""
    size_bytes: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing that has a meaning is left in the repository, not even a bad file."""
        return not (self.releases or self.environments or self.problems)


NOTHING = Snapshot("", {}, {}, {}, (), frozenset(), frozenset())
"""An empty repository, of no revision."""


def read(revision: str, files: Iterable[File], load: Load, cache: Cache, older: Older) -> Snapshot:
    """The repository at `revision`, given every file under `releases/` and `environments/`.

    `load` gives a blob's bytes by its id. Raises InputError only where there is more than can be read at all.
    """
    listed = list(files)
    if len(listed) > FILES_MAX:  # before any of them is looked at more closely
        _measured(NOTHING, {"": {file.path: file for file in listed}})
    return reread(NOTHING, revision, {file.path: file for file in listed}, load, cache, older)


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
    for name in before.faulty:
        if before.sections[name].looked_back:
            grouped[name] |= {}  # an earlier commit is another one now
    wanted = {name: _applied(before.sections.get(name), parts) for name, parts in grouped.items()}
    documents, size_bytes = _measured(before, wanted)
    read_anew = dict[str, Section | None]()
    for name, files in wanted.items():
        old = before.sections.get(name)
        if old is None or old.files != files or old.looked_back:
            read_anew[name] = read_section(files, load, cache, older) if files else None
    sections = layered(before.sections).changed(
        {name: section for name, section in read_anew.items() if section},
        [name for name, section in read_anew.items() if section is None],
    )
    made = _Composition(before, sections, read_anew.keys()).snapshot(revision)
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
    gone = [section.files for section in map(before.sections.get, wanted) if section]
    (fewer, smaller), (more, larger) = _amount(gone), _amount(wanted.values())
    count = before.documents - fewer + more
    size_bytes = before.size_bytes - smaller + larger
    if count > FILES_MAX or size_bytes > TOTAL_BYTES_MAX:
        limits = f"{FILES_MAX} files and {TOTAL_BYTES_MAX >> 20} MiB"
        message = f"the repository holds more than {limits} of YAML"
        raise InputError(Problem(Place("releases"), "", message, "move old releases out"))
    return count, size_bytes


def _amount(sections: Iterable[Mapping[str, File]]) -> tuple[int, int]:
    """How many documents these sections' files are, and of how many bytes."""
    documents = [file for files in sections for file in documents_of(files)]
    return len(documents), size_of(documents)


class _Composition:
    """What the sections make together; what none of the `touched` concerns is as it was `before`."""

    def __init__(self, before: Snapshot, sections: Mapping[str, Section], touched: Collection[str]) -> None:
        self.before, self.sections, self.touched = before, sections, touched
        self.releases, self.renewed = self._releases()
        self.merged, self.changed = self._merged()
        self.fitting: Fitting = {}

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
        kept = layered(self.before.releases).changed(added, dropped.keys() - added.keys())
        return kept, frozenset(service for service, _ in (*dropped, *added))

    def _merged(self) -> tuple[Mapping[str, Merged], frozenset[str]]:
        """Every environment as its files have it, and which of them are others than before, or gone."""
        dropped, added = set[str](), dict[str, Merged]()
        for name in self.touched:
            if name in self.before.sections:
                dropped.update(self.before.sections[name].environments)
            if name in self.sections:
                added.update(self.sections[name].environments)
        changed = frozenset(dropped | added.keys())
        return sorted_with(self.before.merged, changed, added), changed

    def snapshot(self, revision: str) -> Snapshot:
        before = self.before
        followed, anew = self._followed()
        faulty = _renewed(before.faulty, self.touched, lambda name: _is_faulty(self.sections.get(name)))
        blind = frozenset[str]().union(*(self.sections[name].blind for name in faulty))
        relations = self._related(followed, blind)
        partial = _renewed(
            before.partial, anew, lambda name: _is_partial(self.merged.get(name), followed.get(name))
        )
        problems = frozenset(relations.problems).union(
            relations.misnamed.values(),
            *(self.sections[name].problems for name in faulty),
            *(followed[name].problems for name in partial if name in followed),
        )
        other = anew | (relations.misnamed.keys() ^ before.related.misnamed.keys())
        there = {
            name: followed[name] for name in other if name in followed and name not in relations.misnamed
        }
        return Snapshot(
            revision=revision,
            releases=self.releases,
            environments=sorted_with(
                before.environments, other, {name: one.environment for name, one in there.items()}
            ),
            nodes=sorted_with(before.nodes, other, {name: one.nodes for name, one in there.items()}),
            problems=tuple(sorted(problems)),
            blind=blind.union(relations.misnamed),
            blind_pins=frozenset(
                (name, service) for name in partial for service in self._unread(name, followed)
            ),
            sections=self.sections,
            merged=self.merged,
            followed=followed,
            faulty=faulty,
            partial=partial,
            unreleased=_renewed(
                before.unreleased, anew, lambda name: name in followed and followed[name].unreleased
            ),
            related=relations,
        )

    def _followed(self) -> tuple[Mapping[str, Followed], frozenset[str]]:
        """Every environment that can be followed, and those of which that was worked out anew, or which are gone."""
        anew = set(self.changed)
        if any(name.startswith("releases/") for name in self.touched):
            anew |= self.before.unreleased
        if self.renewed:
            anew.update(
                name
                for name, one in self.merged.items()
                if one.environment and not one.environment.pins.keys().isdisjoint(self.renewed)
            )
        now = {name: self.merged[name] for name in anew if name in self.merged}
        added = {
            name: follow(one, one.environment, self.releases, self.sections, self.fitting, self._served(name))
            for name, one in now.items()
            if one.environment
        }
        return sorted_with(self.before.followed, anew, added), frozenset(anew)

    def _served(self, name: str) -> Served | None:
        before = self.before.followed.get(name)
        return Served(before.environment, self.before.releases) if before else None

    def _related(self, followed: Mapping[str, Followed], blind: frozenset[str]) -> Related:
        """What environments say of one another: anew where one that came, went or changed says something else."""
        before = self.before

        def said(of: Snapshot | None, name: str) -> object:
            places, sections = (of.followed, of.sections) if of else (followed, self.sections)
            place = places[name].environment if name in places else None
            paths = sections[section].files.keys() if (section := section_of(name)) in sections else ()
            known = name in (of.merged if of else self.merged)
            return known, tuple(paths), place and (place.renamed_from, place.policy.promote)

        names = self.changed | (blind ^ before.blind)
        if all(said(before, name) == said(None, name) for name in names):
            return before.related
        return related(followed, self.merged.keys() | blind, self.sections)

    def _unread(self, name: str, followed: Mapping[str, Followed]) -> frozenset[str]:
        merged, one = self.merged[name], followed.get(name)
        return merged.torn | one.blind if one else merged.torn


def _renewed(before: frozenset[str], anew: Collection[str], holds: Callable[[str], bool]) -> frozenset[str]:
    """The names of which something holds, as it was said `before` of all but those `anew`."""
    return before.difference(anew).union(name for name in anew if holds(name))


def _is_faulty(section: Section | None) -> bool:
    return section is not None and bool(section.problems or section.blind)


def _is_partial(merged: Merged | None, followed: Followed | None) -> bool:
    return merged is not None and bool(merged.torn or (followed and (followed.problems or followed.blind)))
