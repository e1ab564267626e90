"""The deployment history in Git: JSON lines, keyed by operation, in notes on what was deployed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from threading import Lock

from reconciler.git import transfer
from reconciler.git.call import OBJECT_ID, Git, checked
from reconciler.git.commit import NEW_FILE_MODE, File, Identity, build
from reconciler.git.errors import PushRejected
from reconciler.git.objects import REGULAR, Objects, entries
from reconciler.model.git_notes import is_outdated

PENDING_REF = "refs/ugs/notes-pending"
"""Only the lines that the remote does not have yet; gone as soon as it does."""
PUSH_ATTEMPTS_MAX = 10
MESSAGE = "Notes added by UGS"

Paths = dict[str, dict[str, str]]
"""By annotated commit, the paths in the notes' tree and the blobs there: usually one."""


class Notes:
    """The notes under `refs/notes/ugs`, ours and the remote's united. Safe to use from several threads."""

    def __init__(self, git: Git, objects: Objects, identity: Identity) -> None:
        self._git = git
        self._objects = objects
        self._identity = identity
        self._lock = Lock()

    def at(self, sha: str) -> list[str]:
        """The lines of the note at a commit: as last fetched, with what is not pushed yet."""
        checked(sha)
        lines = united(
            self._lines(self._paths(transfer.NOTES_FETCHED_REF).get(sha, {})),
            self._lines(self._paths(PENDING_REF).get(sha, {})),
        )
        return [line.decode("utf-8", "replace") for line in lines]

    def all(self) -> dict[str, list[str]]:
        """Every note, by commit: as last fetched, with what is not pushed yet."""
        fetched, pending = self._paths(transfer.NOTES_FETCHED_REF), self._paths(PENDING_REF)
        return {
            sha: [
                line.decode("utf-8", "replace")
                for line in united(self._lines(fetched.get(sha, {})), self._lines(pending.get(sha, {})))
            ]
            for sha in fetched.keys() | pending.keys()
            if OBJECT_ID.fullmatch(sha)
        }

    def add(self, lines: Mapping[str, Mapping[str, str]], *, at: datetime) -> None:
        """Add lines, by commit and operation, in one commit on the remote's notes.

        They are kept here first, so that a failed push (its errors are raised) loses nothing: the next call
        brings them along.
        """
        with self._lock:
            self._keep(lines, at)
            for _ in range(PUSH_ATTEMPTS_MAX - 1):
                with suppress(PushRejected):
                    self._push(at)
                    return
                transfer.fetch(self._git, transfer.NOTES_REFSPEC)
            self._push(at)

    def _keep(self, lines: Mapping[str, Mapping[str, str]], at: datetime) -> None:
        kept = {sha: self._lines(paths) for sha, paths in self._paths(PENDING_REF).items()}
        for sha, by_operation in lines.items():
            kept[checked(sha)] = united(kept.get(sha, []), _encoded(by_operation))
        files = {sha: _file(content) for sha, content in kept.items()}
        self._git.set_ref(PENDING_REF, self._commit(None, files, at))

    def _push(self, at: datetime) -> None:
        theirs = self._paths(transfer.NOTES_FETCHED_REF)
        files: dict[str, File | None] = {}
        for sha, paths in self._paths(PENDING_REF).items():
            before = theirs.get(sha, {})
            files |= dict.fromkeys(before)
            files[f"{sha[:2]}/{sha[2:]}"] = _file(united(self._lines(before), self._lines(paths)))
        commit = self._commit(self._git.ref(transfer.NOTES_FETCHED_REF), files, at)
        transfer.push(self._git, commit, transfer.NOTES_REF)
        self._git.set_ref(transfer.NOTES_FETCHED_REF, commit)
        self._git.delete_ref(PENDING_REF)

    def _commit(self, parent: str | None, files: Mapping[str, File | None], at: datetime) -> str:
        return build(
            self._git, parent, files, MESSAGE, author=self._identity, committer=self._identity, at=at
        )

    def _paths(self, ref: str) -> Paths:
        """Where the notes of each commit stand. Git spreads them over folders: slashes mean nothing."""
        tip = self._git.ref(ref)
        found: Paths = {}
        for entry in entries(self._git, tip, ()) if tip else ():
            if entry.mode in REGULAR:
                found.setdefault(entry.path.replace("/", ""), {})[entry.path] = entry.oid
        return found

    def _lines(self, paths: Mapping[str, str]) -> list[bytes]:
        return [line for oid in paths.values() for line in self._objects.blob(oid).split(b"\n") if line]


def united(*notes: Iterable[bytes]) -> list[bytes]:
    """All lines, each operation once: as it was said last, by the epochs of those who say theirs, else by which note
    comes last. What is not ours is kept byte for byte."""
    lines = dict[tuple[str, object], bytes]()
    for line in (line for note in notes for line in note):
        key = _key(line)
        known = lines.get(key)
        if known is None or not is_outdated(line, by=known):
            lines[key] = line
    return list(lines.values())


def _key(line: bytes) -> tuple[str, object]:
    try:
        operation = json.loads(line)["operation"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "line", line
    return ("operation", operation) if isinstance(operation, str) else ("line", line)


def _encoded(by_operation: Mapping[str, str]) -> list[bytes]:
    """Raises ValueError (a bug) for what would not be one line of that operation."""
    lines = {operation: line.encode() for operation, line in by_operation.items()}
    for operation, line in lines.items():
        if b"\n" in line or _key(line) != ("operation", operation):
            raise ValueError(f"{line!r} is not one JSON line of operation {operation}")
    return list(lines.values())


def _file(lines: Iterable[bytes]) -> File:
    return File(NEW_FILE_MODE, b"".join(line + b"\n" for line in lines))
