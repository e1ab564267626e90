"""Git in memory: the remote's commits and branch, and a clone of it with the interface of the real mirror."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from reconciler.git import Arrival, Commit, Entry, PushRefused, PushRejected
from reconciler.git.history import OLDER_MAX
from reconciler.model.errors import HostError, TransientError
from reconciler.model.git_notes import is_outdated
from reconciler.model.trust import Signature, Touched
from tests.simulation import signing
from tests.simulation.faults import Weather

Tree = Mapping[str, str]
"""Path -> blob id."""
Lines = Mapping[tuple[str, str], str]
"""(commit, operation) -> the line of the note."""
TRAILER = re.compile(r"^([A-Za-z-]+): (.*)$")
BLOBS: dict[str, bytes] = {}
"""Every blob of every simulation in this process: an id says its content."""


class Made(NamedTuple):
    """A commit with all that it holds. `changed`: the paths that it changed of its first parent."""

    commit: Commit
    tree: Tree
    changed: frozenset[str]
    message: str


@lru_cache(maxsize=100_000)
def blob_of(data: bytes) -> str:
    """Keep a blob; its id."""
    oid = hashlib.sha1(data).hexdigest()
    BLOBS[oid] = data
    return oid


class Remote:
    """The commits that anyone ever made, the branch, and the notes. `moved` hears of every move of the branch."""

    local_path = None

    def __init__(self) -> None:
        self.made: dict[str, Made] = {}
        self.tip = ""
        self.signers: dict[str, str] = {}
        """By commit: whose key signed it; of one that is not signed, nobody's."""
        self.notes: dict[tuple[str, str], str] = {}
        self.noted: list[tuple[float, str, str]] = []
        """When it was told of which upgrade, and what; the oldest first."""
        self.heads: dict[str, str] = {}
        """By daemon: how far its database had come."""
        self.branches: dict[str, str] = {}
        """Others than the tracked one."""
        self.protected = False
        """Whether the tracked one takes no push of ours."""
        self.branch_moves: list[Callable[[str | None, str, str], None]] = []
        """Hear of every push of ours to one of those, before it has its effect, and the next once it has."""
        self.branch_moved: Callable[[], None] = lambda: None
        self.moved: Callable[[str, str, str], None] = lambda _old, _new, _who: None

    def commit(
        self,
        parents: tuple[str, ...],
        changes: Mapping[str, bytes | None],
        message: str,
        *,
        author: str,
        at: datetime,
        committer: str = "",
    ) -> str:
        """`committer`: who, where it is not the author."""
        base = self.made[parents[0]].tree if parents else {}
        tree = dict(base)
        for path, data in changes.items():
            if data is None:
                tree.pop(path, None)
            else:
                tree[path] = blob_of(data)
        changed = frozenset(path for path in changes if tree.get(path) != base.get(path))
        parts = (
            *parents,
            *(f"{path}={tree.get(path)}" for path in sorted(changes)),
            message,
            author,
            str(at),
            *([committer] if committer else []),
        )
        sha = hashlib.sha1("\0".join(parts).encode()).hexdigest()
        if sha not in self.made:
            lines = message.rstrip("\n").split("\n")
            trailers = tuple((found[1], found[2]) for line in lines[1:] if (found := TRAILER.match(line)))
            email, by = f"{author}@example.org", f"{committer or author}@example.org"
            commit = Commit(sha, parents, author, email, at, lines[0], trailers, committer=by)
            self.made[sha] = Made(commit, tree, changed, message)
        return sha

    def move(self, sha: str, who: str) -> None:
        before, self.tip = self.tip, sha
        self.moved(before, sha, who)

    def history(self, tip: str, *, first_parent: bool = False) -> Iterator[Made]:
        """What the tip reaches, newest first."""
        waiting, seen = [tip], {tip}
        while waiting:
            made = self.made[waiting.pop(0)]
            yield made
            for parent in made.commit.parents[: 1 if first_parent else None]:
                if parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)

    def reaches(self, newer: str, older: str) -> bool:
        return older in self.made and any(made.commit.sha == older for made in self.history(newer))


@dataclass
class Refs:
    """What the clone keeps on the daemon's disk."""

    fetched: str = ""
    accepted: str | None = None
    notes: dict[tuple[str, str], str] = field(default_factory=dict)
    """Lines that were not pushed yet."""


class Clone:
    """What reconciler.git.Mirror is, for one life of the daemon."""

    def __init__(
        self,
        remote: Remote,
        refs: Refs,
        weather: Weather,
        race: Callable[[], None],
        told: Callable[[str | None, str], None],
    ) -> None:
        """`race`: what a colleague does who is faster. `told` hears of what is put in force, and of what was."""
        self.remote, self.refs, self.weather, self._race = remote, refs, weather, race
        self._told = told
        self.fetched_s: float | None = None
        """When the last fetch succeeded."""
        self.read_s: list[float] = []
        """When the notes were read, each time."""
        self.polled_s: list[float] = []
        """When it was asked by itself whether there is news, and was answered."""

    def close(self) -> None: ...

    def fetch(self) -> str:
        self._reach("fetch")
        self.refs.fetched = self.remote.tip
        self.fetched_s = self.weather.now_s
        return self.remote.tip

    def poll(self) -> str:
        tip = self.fetch()
        self.polled_s.append(self.weather.now_s)
        return tip

    def accepted(self) -> str | None:
        return self.refs.accepted

    def accept(self, sha: str) -> None:
        self._told(self.refs.accepted, sha)
        self.refs.accepted = sha

    def is_ancestor(self, older: str, newer: str) -> bool:
        return self.remote.reaches(newer, older)

    def entries(self, revision: str, folders: Sequence[str]) -> list[Entry]:
        tree, prefixes = self.remote.made[revision].tree, tuple(f"{folder}/" for folder in folders)
        return [_entry(path, oid) for path, oid in sorted(tree.items()) if path.startswith(prefixes)]

    def differences(self, older: str, newer: str, folders: Sequence[str]) -> Mapping[str, Entry | None]:
        before, after = self.remote.made[older].tree, self.remote.made[newer].tree
        prefixes = tuple(f"{folder}/" for folder in folders)
        moved = sorted(path for path, oid in before.items() if after.get(path) != oid)
        moved += sorted(path for path in after if path not in before)
        return {
            path: _entry(path, after[path]) if path in after else None
            for path in moved
            if path.startswith(prefixes)
        }

    def blob(self, oid: str) -> bytes:
        return BLOBS[oid]

    def blobs(self, _wanted: object, _told: object = None) -> Callable[[str], bytes]:
        return self.blob

    def blob_at(self, revision: str, path: str) -> bytes | None:
        oid = self.remote.made[revision].tree.get(path)
        return BLOBS[oid] if oid else None

    def older(self, revision: str, path: str) -> Iterator[tuple[str, bytes]]:
        for commit in self.log(None, revision, paths=(path,), limit=OLDER_MAX)[1:]:
            data = self.blob_at(commit.sha, path)
            if data is not None:
                yield commit.sha, data

    def described(self, revision: str) -> Commit:
        return self.remote.made[revision].commit

    def log(
        self,
        since: str | None,
        until: str,
        *,
        paths: Sequence[str] = (),
        first_parent: bool = True,
        limit: int = 1000,
    ) -> list[Commit]:
        known = {made.commit.sha for made in self.remote.history(since)} if since else set()
        found: list[Commit] = []
        for made in self.remote.history(until, first_parent=first_parent):
            if made.commit.sha in known:
                if first_parent:
                    break
                continue
            if not paths or any(_under(path, paths) for path in made.changed):
                found.append(made.commit)
                if len(found) == limit:
                    break
        return found

    def find_trailer(self, key: str, value: str, *, until: str, limit: int) -> str | None:
        commits = self.log(None, until, first_parent=False, limit=limit)
        return next((commit.sha for commit in commits if (key, value) in commit.trailers), None)

    def commit(self, parent: str, changes: Mapping[str, bytes | None], message: str, *, at: datetime) -> str:
        sha = self.remote.commit((parent,), changes, message, author="UGS", at=at)
        self.remote.signers[sha] = signing.OURS
        return sha

    def arrivals(self, since: str | None, tip: str, *, everything: bool) -> list[Arrival]:
        return signing.arrivals(self.remote, since, tip, everything=everything)

    def signatures(self, commits: Sequence[str]) -> list[Signature]:
        return signing.signatures(self.remote, self.weather, commits)

    def touched(self, arrived: Sequence[Arrival], paths: Sequence[str]) -> dict[str, list[Touched]]:
        return signing.touched(self.remote, arrived, paths)

    def push(self, sha: str) -> None:
        self._reach("push")
        if self.weather.strikes("push-raced"):
            self._race()
        if not self.remote.reaches(sha, self.remote.tip):
            raise PushRejected("the branch has moved on")
        if self.remote.protected or self.weather.strikes("remote-refuses"):
            raise PushRefused("main is protected", "let the daemon push")
        if sha != self.remote.tip:
            self.remote.move(sha, "ugs")
        if self.weather.strikes("push-unanswered"):
            raise TransientError("push: the connection was closed", "it is tried again")

    def branch(self, name: str) -> str | None:
        self._reach("fetch of a branch")
        return self.remote.branches.get(name)

    def branches(self) -> dict[str, str]:
        self._reach("a look at the branches")
        return {**self.remote.branches, "main": self.remote.tip}

    def has(self, revision: str) -> bool:
        """What people have pushed to other branches is not fetched with the tracked one."""
        made = self.remote.made.get(revision)
        ours = made is not None and made.commit.author == "UGS"
        return ours or self.remote.reaches(self.refs.fetched, revision)

    def drop_branch(self, name: str, *, expected: str) -> None:
        self._reach("push of a branch")
        if self.remote.branches.get(name) != expected:
            raise PushRejected("the branch has moved on")
        del self.remote.branches[name]

    def push_branch(self, sha: str, name: str, *, expected: str | None) -> None:
        self._reach("push of a branch")
        if self.remote.branches.get(name) != expected:
            raise PushRejected("the branch has moved on")
        for told in self.remote.branch_moves:
            told(expected, sha, name)
        self.remote.branches[name] = sha
        self.remote.branch_moved()
        if self.weather.strikes("push-unanswered"):
            raise TransientError("push: the connection was closed", "it is tried again")

    def contains(self, sha: str) -> bool:
        return self.remote.reaches(self.fetch(), sha)

    def notes(self, sha: str) -> list[str]:
        return self.all_notes().get(sha, [])

    def all_notes(self) -> dict[str, list[str]]:
        self.read_s.append(self.weather.now_s)
        found = dict[str, list[str]]()
        for (revision, _), line in united(self.remote.notes, self.refs.notes).items():
            found.setdefault(revision, []).append(line)
        return found

    def head_of(self, daemon: str) -> str | None:
        self._reach("fetch of the head")
        return self.remote.heads.get(daemon)

    def keep_head(self, daemon: str, line: str, *, at: datetime) -> None:
        self._reach("push of the head")
        self.remote.heads[daemon] = line

    def add_notes(self, lines: Mapping[str, Mapping[str, str]], *, at: datetime) -> None:
        said = {
            (revision, operation): line
            for revision, by_operation in lines.items()
            for operation, line in by_operation.items()
        }
        self.refs.notes = united(self.refs.notes, said)
        self._reach("push of notes")
        before, self.remote.notes = self.remote.notes, united(self.remote.notes, self.refs.notes)
        news = [key for key in self.refs.notes if self.remote.notes[key] != before.get(key)]
        self.remote.noted += [(self.weather.now_s, key[1], self.remote.notes[key]) for key in news]
        self.refs.notes.clear()

    def _reach(self, what: str) -> None:
        if self.weather.strikes("remote-down") or self.weather.strikes("remote-flaky"):
            raise TransientError(f"{what}: the remote does not answer", "it is tried again")
        if not self.remote.tip:
            raise HostError(f"{what}: couldn't find remote ref", "push the branch")


def united(known: Lines, said: Lines) -> dict[tuple[str, str], str]:
    """What becomes of notes when others are brought to them: what was said of an operation last counts, unless whoever
    says it had lost the environment before the other had it, as the notes in Git have it."""
    late = {key for key, line in said.items() if key in known and is_outdated(line, by=known[key])}
    return {**known, **{key: line for key, line in said.items() if key not in late}}


@lru_cache(maxsize=100_000)
def _entry(path: str, oid: str) -> Entry:
    return Entry("100644", oid, path, len(BLOBS[oid]))


def _under(path: str, paths: Sequence[str]) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in paths)
