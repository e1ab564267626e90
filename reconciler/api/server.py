"""Serving an application on the daemon's own loop: on its Unix socket, and at an address."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from reconciler.api.connection import HEAD_BYTES_MAX, Local, Patient
from reconciler.config import Tls
from reconciler.model.errors import HostError

SHUTDOWN_S = 2
BACKLOG = 512
PATH_BYTES_MAX = 107  # the kernel's limit on the path of a Unix socket


class _Server(uvicorn.Server):
    """Signals are the daemon's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(application: Any, at: Path | tuple[str, int], tls: Tls | None = None) -> None:
    """Serve until cancelled: on a socket to which only the daemon's owner may connect (the caller holds the state's
    lock), or at an address and a port, to whoever reaches it, with `tls` encrypted."""
    with _listening(at) if isinstance(at, Path) else _open_to_all(*at) as channel:
        config = uvicorn.Config(
            application,
            http=Local if isinstance(at, Path) else Patient,
            ws="none",
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            server_header=False,
            # A proxy on this machine may say for whom it asks.
            proxy_headers=not isinstance(at, Path),
            forwarded_allow_ips=["127.0.0.1", "::1"],
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
        if tls is not None:
            config.ssl_certfile, config.ssl_keyfile = str(tls.certificate), str(tls.key)
            config.ssl_keyfile_password = "-"  # noqa: S105 - none: so that nobody is asked for one
        _load(config)
        server = _Server(config)
        try:
            await server.serve(sockets=[channel])
        except asyncio.CancelledError:
            server.should_exit = True
            if server.started:
                await server.shutdown(sockets=[channel])  # what is open is closed, and given a moment to end
            raise


def _load(config: uvicorn.Config) -> None:
    """Raises HostError where the certificate or its key cannot be used."""
    try:
        config.load()
    except OSError as error:  # that of TLS is one
        raise HostError(
            f"{config.ssl_certfile} and {config.ssl_keyfile}: {error.strerror or error}",
            "correct `tls` in ugs.yaml: a certificate and its key in PEM, without a passphrase",
        ) from error


@contextlib.contextmanager
def _open_to_all(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        channel = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise HostError(
            f"{host}:{port}: {error.strerror or error}", "correct `listen` in ugs.yaml"
        ) from error
    with channel:
        # What is accepted inherits it. An answer is a head and a body: with Nagle's algorithm the second waits for the
        # client to acknowledge the first, 40 ms; and asyncio sees to it only where a socket names its protocol.
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield channel


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise HostError(f"{path}: too long for a socket's path", "choose a shorter `state` in ugs.yaml")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        _bind(channel, path)
        try:
            channel.listen(BACKLOG)
            yield channel
        finally:
            path.unlink(missing_ok=True)


def _bind(channel: socket.socket, path: Path) -> None:
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        channel.bind(str(path))
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", "see that the state folder can be written") from error
    finally:
        os.umask(before)
