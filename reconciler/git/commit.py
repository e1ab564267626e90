"""Making a commit without a work tree or an index: one `fast-import` builds its blobs, trees and itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from reconciler.git.call import Git, checked
from reconciler.git.objects import REGULAR, entry_at, inside
from reconciler.git.signatures import SSH_PROGRAM, signed
from reconciler.model.errors import UgsError

SCRATCH_REF = "refs/ugs/built"
"""Where fast-import leaves what it made; nothing reads it."""
NEW_FILE_MODE = "100644"


class Identity(Struct, frozen=True):
    """Who a commit is by; with a private SSH key, what they commit is signed."""

    name: str
    email: str
    signing_key: Path | None = None
    ssh_program: Path = SSH_PROGRAM


class File(Struct, frozen=True):
    """What a path shall be: regular or executable, with these bytes."""

    mode: str
    data: bytes


def modes_kept(git: Git, parent: str, changes: Mapping[str, bytes | None]) -> dict[str, File | None]:
    """The changes, with the modes that the files have in `parent`. Raises UgsError for what is no file."""
    files: dict[str, File | None] = {}
    for path, data in changes.items():
        entry = entry_at(git, parent, path)
        if entry is not None and entry.mode not in REGULAR:
            raise UgsError(f"{path}: not a regular file at {parent}", "put a regular file there")
        files[path] = None if data is None else File(entry.mode if entry else NEW_FILE_MODE, data)
    return files


def build(
    git: Git,
    parent: str | None,
    files: Mapping[str, File | None],
    message: str,
    *,
    author: Identity,
    committer: Identity,
    at: datetime,
) -> str:
    """The id of a new commit on `parent` (None: a first one) with these files set, or removed where None.

    Folders left empty vanish; no files make an empty commit. Signed with the committer's key, if they have
    one. The same arguments give the same id, as far as the key's signatures are the same.
    """
    when = f"{int(at.timestamp())} +0000"
    text = message.rstrip("\n").encode() + b"\n"
    stream = [
        f"commit {SCRATCH_REF}\nmark :1\n".encode(),
        f"author {_person(author)} {when}\ncommitter {_person(committer)} {when}\n".encode(),
        _data(text),
        f"from {checked(parent)}\n".encode() if parent else b"",
        *_edits(files),
        b"get-mark :1\ndone\n",
    ]
    argv = ("fast-import", "--quiet", "--done", "--force", "--date-format=raw")
    with git.writing():  # fast-import moves one scratch reference
        built = git.local(*argv, stdin=b"".join(stream)).decode("ascii").strip()
        if committer.signing_key is None:
            return built
        return signed(git, built, committer.signing_key, committer.ssh_program)


def _edits(files: Mapping[str, File | None]) -> Iterator[bytes]:
    """Removals first, so that a file can make room for a folder of its name."""
    for path, file in sorted(files.items(), key=lambda item: item[1] is not None):
        if file is None:
            yield b"D " + _quoted(path) + b"\n"
        else:
            yield f"M {file.mode} inline ".encode() + _quoted(path) + b"\n" + _data(file.data)


def _data(data: bytes) -> bytes:
    return f"data {len(data)}\n".encode() + data + b"\n"


def _quoted(path: str) -> bytes:
    """The path in fast-import's quotes. Raises ValueError (a bug) for one that no repository can hold."""
    if not inside(path) or ".git" in path.lower().split("/"):
        raise ValueError(f"{path!r} is not a path inside a repository")
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'.encode()


def _person(who: Identity) -> str:
    return f"{_bare(who.name)} <{_bare(who.email)}>"


def _bare(text: str) -> str:
    return re.sub(r"[<>\x00-\x20\x7f]+", " ", text).strip()
