"""How far the database had come, said beside it: so an older one, or one that lost its WAL, is known."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from reconciler.store.connection import FILE_MODE
from reconciler.store.rows import Head

log = logging.getLogger("ugs")
LINE_BYTES = 128


class Witness:
    """One line in a file of its own, always as long, so that it is overwritten where it stands. It may lag behind the
    database by a commit; it is never ahead."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def read(self) -> Head | None:
        """What was last said; None when nothing was, or nothing that can be read."""
        try:
            with self.path.open("rb") as file:
                return Head.parse(file.read(LINE_BYTES).decode("ascii", "replace"))
        except OSError:
            return None

    def write(self, head: Head) -> None:
        """Say it durably. Trouble with that is logged alone: the commit that it tells of stands already."""
        try:
            file = self._opened()
            os.pwrite(file, f"{head}\n".encode().ljust(LINE_BYTES), 0)
            os.fdatasync(file)
        except OSError as error:
            log.warning("%s: %s; an older database might not be noticed", self.path, error.strerror)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def _opened(self) -> int:
        """The file, unless somebody has taken it away: then another."""
        if self._file is not None and not os.fstat(self._file).st_nlink:
            self.close()
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(self.path, flags, FILE_MODE)
        return self._file
