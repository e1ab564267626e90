"""Space put by for the day on which the disk is full: enough to record what was done."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from reconciler.store.connection import FILE_MODE

log = logging.getLogger("ugs")
BYTES = 8 * 1024 * 1024


class Reserve:
    """One file that holds nothing, and can be let go of at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self) -> None:
        """See that it is there. On a disk that is full already it is not, which is logged."""
        try:
            descriptor = os.open(
                self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE
            )
            try:
                os.posix_fallocate(descriptor, 0, BYTES)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.release()
            log.warning("%s: no space could be put by: %s", self.path, error.strerror)

    def release(self) -> bool:
        """Give the space back; False when there was none."""
        try:
            self.path.unlink()
        except OSError:
            return False
        log.warning("%s: let go, to record what was done", self.path)
        return True
