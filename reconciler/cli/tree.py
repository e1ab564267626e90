"""A repository as it stands in a folder, read by the same rules as from Git."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from msgspec import Struct

from reconciler.collector import standing_still
from reconciler.model.document import SIZE_BYTES_MAX
from reconciler.model.errors import HostError, UgsError
from reconciler.model.layout import FOLDERS
from reconciler.model.snapshot import Cache, Snapshot, read


class _File(Struct, frozen=True):
    """A file as `read` wants it: the path is its own id."""

    mode: str
    oid: str
    path: str
    size: int


def read_tree(folder: Path) -> Snapshot:
    """The repository in a folder. Raises UgsError when there is none, InputError and HostError as reading does."""
    present = [name for name in FOLDERS if os.path.lexists(folder / name)]
    if not present:
        raise UgsError(
            f"{folder} is not the folder of a repository for UGS: it has neither releases/ nor environments/",
            "name its working tree, or start one with `ugs init`",
        )
    with standing_still():
        files = [file for name in present for file in _files(folder, folder / name)]
        return read("", files, lambda oid: content(folder / oid), Cache(), lambda _path: ())


def content(path: Path) -> bytes:
    """A file's bytes, one more than a document may have at the most. Raises HostError."""
    try:
        with path.open("rb") as file:
            return file.read(SIZE_BYTES_MAX + 1)
    except OSError as error:
        _unreadable(error)


def _files(root: Path, top: Path) -> Iterator[_File]:
    """Everything at and below `top` that is not a folder; links are not followed, submodules not entered."""
    if top.is_symlink() or not top.is_dir():
        yield _file(root, top)
        return
    for name, folders, files in os.walk(top, onerror=_unreadable):
        here = Path(name)
        for folder in list(folders):
            if (here / folder).is_symlink():
                yield _file(root, here / folder)
            elif os.path.lexists(here / folder / ".git"):
                folders.remove(folder)
                yield _file(root, here / folder, mode="160000")
        for file in files:
            yield _file(root, here / file)


def _file(root: Path, path: Path, mode: str | None = None) -> _File:
    status = path.lstat()
    if mode is None:
        mode = "120000" if stat.S_ISLNK(status.st_mode) else "100644" if stat.S_ISREG(status.st_mode) else "0"
    relative = path.relative_to(root).as_posix()
    return _File(mode, relative, relative, status.st_size)


def _unreadable(error: OSError) -> NoReturn:
    raise HostError(
        f"{error.filename} cannot be read: {error.strerror}", "check its owner and mode"
    ) from error
