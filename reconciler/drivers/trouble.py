"""The host's refusals, said as such."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from reconciler.model.errors import HostError

REMEDIES = {
    errno.ENOSPC: "free some disk space",
    errno.EDQUOT: "free some disk space",
    errno.EROFS: "mount the state folder writable",
    errno.EACCES: "let the daemon's user read and write there",
    errno.EPERM: "let the daemon's user read and write there",
}


@contextmanager
def host_trouble(doing: str) -> Iterator[None]:
    """Turn an OSError into a HostError that says what was being done, and with which file."""
    try:
        yield
    except OSError as error:
        raise as_host_error(doing, error) from error


def as_host_error(doing: str, error: OSError) -> HostError:
    where = f": {os.fspath(error.filename)!r}" if isinstance(error.filename, str | os.PathLike) else ""
    remedy = REMEDIES.get(error.errno or 0, "see to this machine, then try again")
    return HostError(f"cannot {doing}{where}: {error.strerror or error}", remedy)
