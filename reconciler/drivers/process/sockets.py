"""The public socket of a service with `run.socket: pass`, handed on from release to release."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.model.errors import HostError

PUBLIC_ADDRESS = "0.0.0.0"  # noqa: S104  the public socket is for everyone
PUBLIC_BACKLOG = 1024
HAND_OVER_S = 2.0


class PortTaken(HostError):
    """The public port is bound, and nobody who could hand it on holds it."""


@contextmanager
def public_socket(folder: Path, index: int, port: int) -> Iterator[socket.socket]:
    """The socket that another release's shim holds, so that no connection is refused; else a new one."""
    with _handed_on(folder, index, port) or _bound(port) as public:
        yield public


def _bound(port: int) -> socket.socket:
    try:
        return socket.create_server((PUBLIC_ADDRESS, port), backlog=PUBLIC_BACKLOG)
    except OSError as error:
        kind = PortTaken if error.errno == errno.EADDRINUSE else HostError
        raise kind(
            f"cannot listen on port {port}: {os.strerror(error.errno or 0)}", "free it, or pin another"
        ) from error


def _handed_on(folder: Path, index: int, port: int) -> socket.socket | None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for door in sorted(folder.glob(f"{index}.*.sock")):
            # A socket's path has about a hundred bytes: too few for a deep state folder, so go by descriptor.
            public = _ask(f"/proc/self/fd/{descriptor}/{door.name}")
            if public is not None and public.getsockname()[1] == port:
                return public
            if public is not None:
                public.close()
    finally:
        os.close(descriptor)
    return None


def _ask(door: str) -> socket.socket | None:
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.settimeout(HAND_OVER_S)
        try:
            visitor.connect(door)
            descriptors = socket.recv_fds(visitor, 16, 1)[1]
        except OSError:  # left by a shim that was killed
            return None
    return socket.socket(fileno=descriptors[0]) if descriptors else None
