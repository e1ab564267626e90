"""Talking to the daemon over its Unix socket."""

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
from reconciler.model.errors import HostError, UgsError

TIMEOUT_S = 120.0
SOCKET_NAME = "ugs.sock"


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


def call(state: Path, method: str, path: str, body: object = None, *, timeout_s: float = TIMEOUT_S) -> Any:
    """The daemon's answer, decoded. Raises NoDaemon, HostError, or what the daemon itself says."""
    connection = _UnixConnection(state / SOCKET_NAME, timeout_s)
    try:
        data = None if body is None else json.dumps(body)
        # What only asks is answered at once; the rest may have to wait for a remote.
        with working("the daemon is at work") if method == "POST" else contextlib.nullcontext():
            connection.request(method, path, data, {"X-Ugs-Actor": actor_name()})
            response = connection.getresponse()
            answer = json.loads(response.read())
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoDaemon(f"no daemon runs on {state}", "start one with `ugs run`") from error
    except PermissionError as error:
        raise HostError(
            f"{state / SOCKET_NAME}: not yours to talk to", "run this as the daemon's user"
        ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise HostError(f"the daemon did not answer: {error}", "look at its log") from error
    finally:
        connection.close()
    if response.status >= 400:
        raise UgsError(answer["detail"], answer["remedy"])
    return answer


def actor_name() -> str:
    """Who asks, as a header can carry it. A user id in a container may have no name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in name)
