"""How far the database had come, said beside it: so an older one, or one that lost its WAL, is known."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from reconciler.store.connection import FILE_MODE
from reconciler.store.rows import Head

log = logging.getLogger("ugs")
BYTES_MAX = 128


class Witness:
    """One line in a file of its own. It may lag behind the database by a commit; it is never ahead."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unfinished = path.with_name(f"{path.name}.part")

    def read(self) -> Head | None:
        """What was last said; None when nothing was, or nothing that can be read."""
        try:
            with self.path.open("rb") as file:
                return Head.parse(file.read(BYTES_MAX).decode("ascii", "replace"))
        except OSError:
            return None

    def write(self, head: Head) -> None:
        """Say it durably. Trouble with that is logged alone: the commit that it tells of stands already."""
        try:
            descriptor = os.open(
                self._unfinished,
                os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW,
                FILE_MODE,
            )
            try:
                os.write(descriptor, f"{head}\n".encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._unfinished.replace(self.path)
        except OSError as error:
            log.warning("%s: %s; an older database might not be noticed", self.path, error.strerror)
