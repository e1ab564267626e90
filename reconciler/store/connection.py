"""How the one connection is opened, and what SQLite's errors mean here."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.model.errors import HostError, TransientError, UgsError

BUSY_TIMEOUT_S = 5.0
WAL_BYTES_MAX = 16 * 1024 * 1024
FILE_MODE = 0o600


class Damaged(HostError):
    """A failed write or a broken file: this connection takes no more. Exit, and recover on the next start."""


class Full(HostError):
    """No space is left: what was being written is not, and nothing is half written."""


class Corrupt(Damaged):
    """What the file holds is not what was written. The next start keeps it aside, and begins in safe mode."""


def explain(path: Path, error: sqlite3.Error) -> UgsError | None:
    """What the error means to the people who run this machine; None is a bug of ours."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the low byte is the class of an extended code
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return TransientError(
                f"{path}: locked by another process for more than {BUSY_TIMEOUT_S:g} s",
                "end whatever else writes to it, such as a sqlite3 shell or a backup",
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return HostError(
                f"{path}: {error}", "let the daemon's user read and write the file and its folder"
            )
        case sqlite3.SQLITE_FULL:
            return Full(f"{path}: {error}", "free space on that disk; nothing was half written")
        case sqlite3.SQLITE_IOERR:
            return Damaged(f"{path}: {error}", "check the disk, then start the daemon again")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(path, str(error))
    return None


def damaged(path: Path, what: str) -> Corrupt:
    """The error for a file whose content is not what was written."""
    return Corrupt(
        f"{path}: the database is damaged: {what}",
        "start the daemon: it keeps the file aside and goes into safe mode (`ugs recover`)",
    )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as ours, naming the file."""
    try:
        yield
    except sqlite3.Error as error:
        meaning = explain(path, error)
        if meaning is None:
            raise
        raise meaning from error


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection in autocommit mode: transactions are begun in one place, and explicitly.

    A missing file is made (mode 0600) unless `read_only`. Raises HostError, TransientError.
    """
    if not read_only:
        make_private(path)
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    with explained(path):
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def make_private(path: Path) -> None:
    """Make the file if it is not there, and let nobody but its owner read it. SQLite's side files follow."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            os.fchmod(descriptor, FILE_MODE)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise HostError(
            f"{path}: {error.strerror}", "let the daemon's user own the file and write its folder"
        ) from error


def make_durable(connection: sqlite3.Connection, path: Path) -> None:
    """A commit that returned survives a power cut; readers in other processes never wait for the writer."""
    with explained(path):
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            # SQLite answers with the old mode where it cannot change it, as on some network file systems.
            raise HostError(f"{path}: journal mode stays {mode!r}", "keep the state folder on a local disk")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")


def check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    """Raise Damaged when a page of the file is broken."""
    with explained(path):
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer != "ok":
        raise damaged(path, answer)
