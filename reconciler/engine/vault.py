"""All by which the engine reaches a service's data: the commands that work on it, and the folders of its backups."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from reconciler import command, errand
from reconciler.drivers.alias import name_too
from reconciler.errand import Order, Outcome
from reconciler.model.errors import HostError

CHUNK_BYTES = 1 << 20
FOLDERS = ("backups", "errands")


class Vault(Protocol):
    """Every call blocks, and may be repeated. Raises HostError."""

    def carry_out(
        self, folder: Path, name: str, order: Order, *, anew: bool, leave: Callable[[], bool]
    ) -> Outcome:
        """See reconciler.errand.carry_out."""

    def forget(self, folder: Path, name: str) -> None:
        """See reconciler.errand.forget."""

    def make(self, folder: Path, user: str | None) -> None:
        """An empty folder that only the one who saves can enter."""

    def measure(self, path: Path) -> tuple[int, str]:
        """Bytes and SHA-256 of a file, or of all files in a folder; afterwards they are safe on the disk."""

    def remove(self, folder: Path) -> None:
        """A backup's folder with all that is in it, as far as that can be."""

    def rename(self, state: Path, old: str, new: str) -> None:
        """The files of the environment `old` are `new`'s from now on, and stay where they are."""


class OnDisk:
    """On this machine."""

    carry_out = staticmethod(errand.carry_out)
    forget = staticmethod(errand.forget)

    def make(self, folder: Path, user: str | None) -> None:
        """See Vault."""
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, parents=True)
            if user is not None:
                account = command.account(user)
                os.chown(folder, account.pw_uid, account.pw_gid)
        except OSError as error:
            raise HostError(f"{folder}: {error.strerror}", "let the daemon's user write there") from error

    def measure(self, path: Path) -> tuple[int, str]:
        """See Vault."""
        size_bytes, digest = 0, hashlib.sha256()
        try:
            for file in _files(path):
                digest.update(f"{file.relative_to(path)}\0".encode())
                with file.open("rb") as reader:
                    while chunk := reader.read(CHUNK_BYTES):
                        size_bytes += len(chunk)
                        digest.update(chunk)
                    os.fsync(reader.fileno())
        except OSError as error:
            raise HostError(f"{path}: {error.strerror}", "see that `backup.save` writes it") from error
        return size_bytes, digest.hexdigest()

    def remove(self, folder: Path) -> None:
        """See Vault."""
        shutil.rmtree(folder, ignore_errors=True)

    def rename(self, state: Path, old: str, new: str) -> None:
        """See Vault."""
        for folder in FOLDERS:
            name_too(state.resolve() / folder / old, new)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    else:
        yield path
