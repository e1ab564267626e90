"""Talking to the daemon: to the one on this machine over its Unix socket, to another one over HTTP."""

from __future__ import annotations

import contextlib
import getpass
import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

from reconciler.cli.output import working
from reconciler.config.elsewhere import Elsewhere
from reconciler.model.errors import HostError, UgsError

TIMEOUT_S = 120.0
SOCKET_NAME = "ugs.sock"
Address = Path | Elsewhere
"""The state folder of a daemon on this machine, or another machine's API."""


class NoDaemon(UgsError):
    """Nobody listens on the socket."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def call(at: Address, method: str, path: str, body: object = None, *, timeout_s: float = TIMEOUT_S) -> Any:
    """The daemon's answer, decoded. Raises NoDaemon, HostError, or what the daemon itself says."""
    connection, headers = _connection(at, timeout_s)
    before = at.path if isinstance(at, Elsewhere) else ""
    try:
        data = None if body is None else json.dumps(body)
        # What only asks is answered at once; the rest may have to wait for a remote.
        with working("the daemon is at work") if method == "POST" else contextlib.nullcontext():
            connection.request(method, before + path, data, headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _unreached(at, error) from error
    finally:
        connection.close()
    if response.status >= 300:
        if not isinstance(answer, dict) or "detail" not in answer:
            raise HostError(f"{named(at)} is no UGS: it answers {response.status}", "correct UGS_URL")
        raise UgsError(answer["detail"], answer["remedy"])
    return answer


def _connection(at: Address, timeout_s: float) -> tuple[http.client.HTTPConnection, dict[str, str]]:
    if isinstance(at, Path):
        return _UnixConnection(at / SOCKET_NAME, timeout_s), {"X-Ugs-Actor": actor_name()}
    headers = {"Authorization": f"Bearer {at.token}", "Content-Type": "application/json"}
    if not at.secure:
        return http.client.HTTPConnection(at.host, at.port, timeout=timeout_s), headers
    import ssl

    # The certificate and the name in it are verified; SSL_CERT_FILE says by which authorities.
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(at.host, at.port, timeout=timeout_s, context=context), headers


def _unreached(at: Address, error: Exception) -> UgsError:
    if isinstance(at, Path):
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return NoDaemon(f"no daemon runs on {at}", "start one with `ugs run`")
        if isinstance(error, PermissionError):
            return HostError(f"{at / SOCKET_NAME}: not yours to talk to", "run this as the daemon's user")
        return HostError(f"the daemon did not answer: {error}", "look at its log")
    return HostError(f"{at.url} did not answer: {error}", "see that UGS_URL is right and the daemon runs")


def named(at: Address) -> str:
    """As people call it."""
    return at.url if isinstance(at, Elsewhere) else str(at)


def actor_name() -> str:
    """Who asks, as a header can carry it. A user id in a container may have no name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in name)
