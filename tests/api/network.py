"""The API over the network, as a client with a token meets it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import Any, NamedTuple

from tests.api.test_routes import ask
from tests.daemon_process import DaemonProcess

TIMEOUT_S = 30


class Reply(NamedTuple):
    status: int
    headers: Message
    body: Any


def token_for(
    served: DaemonProcess,
    name: str,
    role: str,
    *,
    environments: tuple[str, ...] = ("*",),
    services: tuple[str, ...] = ("*",),
) -> str:
    """A new token, made over the socket."""
    grant = {"role": role, "environments": environments, "services": services}
    made = ask(served, "POST", "/tokens", {"name": name, "grants": [grant]})
    assert made.status == 200, made
    return str(made.body["token"])


def call(
    port: int,
    method: str,
    path: str,
    body: object = None,
    *,
    token: str | None = None,
    headers: Mapping[str, str] = {},
) -> Reply:
    """One request over TCP; the body as JSON, and the answer decoded where it is JSON."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    own = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {**own, **headers}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return Reply(answer.status, answer.headers, _decoded(answer.headers, answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.headers, _decoded(error.headers, error.read()))


def _decoded(headers: Message, data: bytes) -> Any:
    return json.loads(data) if "json" in headers.get("Content-Type", "") else data
