"""A repository as it stands in a folder, read by the same rules as from Git."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from msgspec import Struct

from reconciler.collector import standing_still
from reconciler.model.document import SIZE_BYTES_MAX
from reconciler.model.errors import HostError, UgsError
from reconciler.model.layout import FOLDERS, REGULAR, is_document
from reconciler.model.snapshot import FILES_MAX, TOTAL_BYTES_MAX, Cache, Snapshot, read

MANY = 500
"""So many files are worth remembering: fewer are read before the memory is."""
NAME_LENGTH = 32
REMEMBERED_MAX = 20
"""Repositories; whose check lies back furthest is forgotten."""
MOST_BYTES = 1 << 14
"""Most files are smaller."""


class _File(Struct, frozen=True):
    """A file as `read` wants it: the path is its own id."""

    mode: str
    oid: str
    path: str
    size: int


def read_tree(folder: Path, caches: Path | None = None) -> Snapshot:
    """The repository in a folder. Raises UgsError when there is none, InputError and HostError as reading does.

    `caches`: where it is remembered, of a large one, what its files describe; no matter whether that is possible.
    """
    present = [name for name in FOLDERS if os.path.lexists(folder / name)]
    if not present:
        raise UgsError(
            f"{folder} is not the folder of a repository for UGS: it has neither releases/ nor environments/",
            "name its working tree, or start one with `ugs init`",
        )
    with standing_still():
        files = [file for name in present for file in _files(folder, folder / name)]
        if caches and MANY <= len(files) <= FILES_MAX:
            return _remembered(folder, files, caches)
        return read("", files, lambda oid: content(folder / oid), Cache(), lambda _path: ())


def _remembered(folder: Path, files: list[_File], caches: Path) -> Snapshot:
    """The same, where files whose content was read before are not parsed again."""
    from reconciler.parsed import Parsed

    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:NAME_LENGTH]
    parsed = Parsed(caches / f"{name}.parsed")
    contents, size_bytes = dict[str, bytes](), 0
    for index, file in enumerate(files):
        if file.mode in REGULAR and is_document(file.path) and file.size <= SIZE_BYTES_MAX:
            data = content(folder / file.path)
            oid = hashlib.sha256(data).hexdigest()
            if oid not in contents and parsed.recall(oid, file.path) is None:
                # What is parsed is what was hashed, whoever writes to the file meanwhile.
                size_bytes += len(data)
                if size_bytes > TOTAL_BYTES_MAX:
                    break  # more than may be read: so it is said of it, in a moment
                contents[oid] = data
            files[index] = _File(file.mode, oid, file.path, file.size)
    cache = Cache(parsed.recall)

    def load(oid: str) -> bytes:
        known = contents.get(oid)
        return content(folder / oid) if known is None else known

    snapshot = read("", files, load, cache, lambda _path: ())
    parsed.keep(snapshot.sections, cache)
    _forget_old(caches, f"{name}.parsed")
    return snapshot


def _forget_old(caches: Path, newest: str) -> None:
    """Drop all but the memories that were used last; no matter whether that is possible."""
    with suppress(OSError):
        os.utime(caches / newest)
        by_use = sorted(caches.glob("*.parsed"), key=lambda path: path.lstat().st_mtime_ns, reverse=True)
        for old in by_use[REMEMBERED_MAX:]:
            old.unlink(missing_ok=True)


def content(path: Path) -> bytes:
    """A file's bytes, one more than a document may have at the most. Raises HostError."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES)
            # Room for the largest would be made, and given back, for each of them.
            return data + file.read(SIZE_BYTES_MAX + 1 - MOST_BYTES) if len(data) == MOST_BYTES else data
    except OSError as error:
        _unreadable(error)


def _files(root: Path, top: Path) -> Iterator[_File]:
    """Everything at and below `top` that is not a folder; links are not followed, submodules not entered."""
    if top.is_symlink() or not top.is_dir():
        yield _file(top.lstat(), top.name)
        return
    before = len(f"{root / top.name}") - len(top.name)
    folders = [f"{top}"]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    path = entry.path[before:]
                    if not entry.is_dir(follow_symlinks=False):
                        yield _file(entry.stat(follow_symlinks=False), path)
                    elif os.path.lexists(f"{entry.path}/.git"):
                        yield _file(entry.stat(follow_symlinks=False), path, mode="160000")
                    else:
                        folders.append(entry.path)
        except OSError as error:
            _unreadable(error)


def _file(status: os.stat_result, path: str, mode: str | None = None) -> _File:
    if mode is None:
        mode = "120000" if stat.S_ISLNK(status.st_mode) else "100644" if stat.S_ISREG(status.st_mode) else "0"
    return _File(mode, path, path, status.st_size)


def _unreadable(error: OSError) -> NoReturn:
    raise HostError(
        f"{error.filename} cannot be read: {error.strerror}", "check its owner and mode"
    ) from error
