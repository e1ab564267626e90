"""Reading objects by id through long-lived `cat-file --batch` and `--batch-check`, and what stands where in a tree."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, TypeVar

from msgspec import Struct

from reconciler.git.call import Git, checked
from reconciler.model.errors import HostError, TransientError

T = TypeVar("T")
PATH_CHARACTERS_MAX = 4096
FILE_BYTES_MAX = 512 << 20
REGULAR = frozenset({"100644", "100755"})


class Entry(Struct, frozen=True):
    """One path in a tree. `mode` is git's: `120000` a symlink, `160000` a submodule; `size` in bytes."""

    mode: str
    oid: str
    path: str
    size: int


class Objects:
    """The persistent object reader, shared by all threads; a reader that died is started again."""

    def __init__(self, git: Git) -> None:
        self._lock = Lock()
        self._reader = self.reader(git)

    @staticmethod
    def reader(git: Git) -> Any:
        """Starts git's long-lived readers: GitPython's own, without its Repo, which would follow the daemon's GIT_*
        variables."""
        import git as gitpython

        reader = gitpython.Git(os.fspath(git.path))
        # It lays this over the daemon's own environment: whatever could lead elsewhere is set here.
        reader.update_environment(
            **git.environment(),
            GIT_DIR=os.fspath(git.path),
            GIT_COMMON_DIR=os.fspath(git.path),
            GIT_OBJECT_DIRECTORY=os.fspath(git.path / "objects"),
            GIT_ALTERNATE_OBJECT_DIRECTORIES="",
        )
        return reader

    def blob(self, oid: str) -> bytes:
        """A blob's bytes. Raises TransientError when it is not here, HostError when it cannot be read."""
        return self._asked(oid, self._read)

    def size(self, oid: str) -> int:
        """An object's size in bytes; likewise."""
        return self._asked(oid, self._measure)

    def commit_at(self, ref: str) -> str:
        """The commit that a reference of ours, which is there, names at this moment; likewise."""
        return self._once_more(f"{ref}^{{commit}}", self._resolve)

    def _asked(self, oid: str, ask: Callable[[str], T]) -> T:
        return self._once_more(checked(oid), ask)

    def _once_more(self, oid: str, ask: Callable[[str], T]) -> T:
        with self._lock:
            try:
                return ask(oid)
            except (OSError, ValueError):
                # It may have died, or lost its place between two answers: once more, with a new one.
                self._reader.clear_cache()
            try:
                return ask(oid)
            except (OSError, ValueError) as error:
                self._reader.clear_cache()
                if f"{oid} missing" in str(error):
                    remedy = "fetch again, or start again: a broken mirror is made anew"
                    raise TransientError(f"object {oid} is not in the mirror", remedy) from error
                remedy = "start again: a broken mirror is made anew"
                raise HostError(f"object {oid} cannot be read from the mirror", remedy) from error

    def close(self) -> None:
        with self._lock:
            self._reader.clear_cache()

    def _read(self, oid: str) -> bytes:
        _, _, size, data = self._reader.get_object_data(oid)
        if len(data) != size:
            raise ValueError(f"{len(data)} of {size} bytes")
        return bytes(data)

    def _resolve(self, name: str) -> str:
        oid, _, _ = self._reader.get_object_header(name)
        return checked(oid.decode("ascii"))

    def _measure(self, oid: str) -> int:
        _, _, size = self._reader.get_object_header(oid)
        return int(size)


def entries(git: Git, revision: str, folders: Sequence[str]) -> list[Entry]:
    """Every path under these folders (all of them when there are none), whatever its mode."""
    return _listed(git, "-r", checked(revision), "--", *folders)


def entry_at(git: Git, revision: str, path: str) -> Entry | None:
    """What stands at exactly this path: a file, a link or a folder."""
    if not inside(path):
        return None
    found = _listed(git, checked(revision), "--", path)
    return next((entry for entry in found if entry.path == path), None)


def inside(path: str) -> bool:
    """Whether this can be a path in a repository at all: relative, and going nowhere but down."""
    dots = {"", ".", ".."}.intersection(path.split("/"))
    return not dots and "\0" not in path and len(path) <= PATH_CHARACTERS_MAX


def _listed(git: Git, *argv: str) -> list[Entry]:
    listing = git.local("ls-tree", "-z", "--long", "--full-tree", *argv)
    return [_entry(record) for record in listing.split(b"\0")[:-1]]


def _entry(record: bytes) -> Entry:
    head, _, path = record.partition(b"\t")
    mode, _, oid, size = head.decode("ascii").split()
    return Entry(mode, oid, path.decode("utf-8", "backslashreplace"), int(size) if size.isdigit() else 0)
