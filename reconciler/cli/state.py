"""The daemon's state folder: its user's alone, and one daemon's at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from reconciler.model.errors import HostError

LOCKED_EXIT = 75
"""EX_TEMPFAIL: another daemon has the state folder."""


@contextlib.contextmanager
def private_files() -> Iterator[int]:
    """Whatever is written in here is this user's alone; the umask that stood before, which services keep."""
    before = os.umask(0o077)
    try:
        yield before
    finally:
        os.umask(before)


class Locked(HostError):
    """Another daemon works on this state."""


@contextlib.contextmanager
def state_lock(state: Path) -> Iterator[None]:
    """One daemon a state folder; the kernel lets go of the lock however the holder ends."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        _keep_private(state)
        descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise HostError(f"{state}: {error.strerror}", "let the daemon's user own its state folder") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise Locked(
                f"another daemon (pid {holder}) works on {state}", "stop it, or give this one another `state`"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _keep_private(state: Path) -> None:
    """Nobody else may look into the state folder, or lead us to another one. Raises HostError, OSError."""
    if state.is_symlink():
        raise HostError(f"{state} is a symbolic link", "name the folder itself as `state` in ugs.yaml")
    found = state.stat()
    if found.st_uid != os.geteuid():
        raise HostError(
            f"{state} belongs to user {found.st_uid}, and this runs as {os.geteuid()}",
            "run this as the daemon's user",
        )
    if found.st_mode & 0o077:
        state.chmod(0o700)
