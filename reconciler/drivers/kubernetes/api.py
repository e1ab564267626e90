"""The API server over HTTP: one call, one stream, and what its refusals mean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import urllib3

from reconciler.drivers.kubernetes.access import Access
from reconciler.drivers.kubernetes.objects import STATUSES, Status
from reconciler.model.errors import ArtifactError, HostError, TransientError, UgsError

CONNECT_S = 5.0
ANSWER_S = 15.0
"""How long the server may keep silent before a call is given up."""
BODY_BYTES_MAX = 64 << 20
POOL_MAX = 16
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
MESSAGE_MAX = 600


class Absent(HostError):
    """There is no such object, or no such namespace."""


class Forbidden(HostError):
    """We may not do this, or the server does not know us."""


class Conflict(HostError):
    """Somebody else owns what we would change, or has just changed it. `causes`: (field, who says so)."""

    causes: tuple[tuple[str, str], ...] = ()


class Gone(TransientError):
    """What was asked for lies too far back (410): list again."""


class Api:
    """Blocking; used from many threads. Every call names what is being done, for the error."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self.server = access.server
        parts = urlsplit(access.server)
        self._base = parts.path.rstrip("/")
        options: dict[str, Any] = {"maxsize": POOL_MAX, "retries": False}
        if access.tls is not None:
            options |= {"ssl_context": access.tls}
        if access.tls is not None and access.server_name:
            options |= {"server_hostname": access.server_name, "assert_hostname": access.server_name}
        manager = (
            urllib3.ProxyManager(access.proxy, **options) if access.proxy else urllib3.PoolManager(**options)
        )
        self._pool = manager

    def close(self) -> None:
        self._pool.clear()

    def call(
        self,
        doing: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = "application/json",
    ) -> bytes:
        """The answer's body. Raises what `refusal` makes of a refusal, HostError when nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        with self._answer(doing, method, path, query or {}, data, content, ANSWER_S) as answer:
            return _bounded(answer, doing)

    @contextmanager
    def stream(
        self, doing: str, path: str, query: Mapping[str, str], silence_s: float
    ) -> Iterator[Iterator[bytes]]:
        """The answer line by line, for as long as the server goes on; `silence_s`: how long it may say nothing."""
        with self._answer(doing, "GET", path, query, None, "", silence_s) as answer:
            yield _lines(answer)

    @contextmanager
    def _answer(
        self,
        doing: str,
        method: str,
        path: str,
        query: Mapping[str, str],
        data: bytes | None,
        content: str,
        silence_s: float,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        try:
            answer = self._send(method, path, query, data, content, silence_s, anew=False)
            if answer.status == 401:
                answer.drain_conn()
                answer = self._send(method, path, query, data, content, silence_s, anew=True)
            try:
                if answer.status >= 400:
                    raise refusal(doing, _status(answer), self.server)
                yield answer
            finally:
                answer.close()  # one that was read to its end has given its connection back already
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise HostError(
                f"cannot {doing}: the API server {self.server} does not answer: {_reason(error)}",
                "see that it runs and can be reached from here",
            ) from error

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        data: bytes | None,
        content: str,
        silence_s: float,
        *,
        anew: bool,
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": "application/json", "User-Agent": "ugs"}
        if data is not None:
            headers["Content-Type"] = content
        if token := self._access.token(anew):
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self.server}{path}" + (f"?{urlencode(query)}" if query else "")
        timeout = urllib3.Timeout(connect=CONNECT_S, read=silence_s)
        return self._pool.request(
            method, url, body=data, headers=headers, timeout=timeout, preload_content=False, redirect=False
        )


def path_of(group: str, plural: str, namespace: str, name: str = "", sub: str = "") -> str:
    """The path of an object, or of all in a namespace. `group`: `apps/v1`, or `v1` for the core."""
    base = f"/api/{group}" if "/" not in group else f"/apis/{group}"
    tail = "".join(f"/{quote(part, safe='')}" for part in (name, sub) if part)
    return f"{base}/namespaces/{quote(namespace, safe='')}/{plural}{tail}"


def refusal(doing: str, status: Status, server: str) -> UgsError:
    """A refusal as one of our errors, by whose it is to mend."""
    said = " ".join(status.message.split())[:MESSAGE_MAX] or f"status {status.code}"
    what = f"cannot {doing}: {said}"
    if "admission webhook" in said:
        return HostError(what, "see to that webhook, or to what it asks for")
    match status.code:
        case 401:
            what = f"cannot {doing}: {server} does not accept our credentials"
            return Forbidden(what, "renew them in the kubeconfig or the service account")
        case 403:
            remedy = "grant it to the daemon's user by a Role and a RoleBinding"
            quota = "raise the quota of the namespace, or ask for less"
            return Forbidden(what, quota if "exceeded quota" in said else remedy)
        case 404:
            remedy = "create the namespace, or name another in the environment's `driver`"
            return Absent(
                what, remedy if said.startswith("namespaces ") else "see that it was not removed by hand"
            )
        case 409:
            return _conflict(what, status)
        case 410:
            return Gone(what)
        case 400 | 415 | 422:
            return ArtifactError(what, "mend it in a new release")
        case 429 | 500 | 502 | 503 | 504:
            return TransientError(what, "it is tried again")
    return HostError(what, f"see the logs of the API server {server}")


def _conflict(what: str, status: Status) -> Conflict:
    conflict = Conflict(what, "see who changes it, and let one of you own it")
    found = status.details.causes if status.details else ()
    conflict.causes = tuple((one.field, one.message) for one in found if "Conflict" in one.reason)
    return conflict


def _status(answer: urllib3.BaseHTTPResponse) -> Status:
    body = answer.read(MESSAGE_MAX * 100)
    try:
        status = STATUSES.decode(body)
    except msgspec.MsgspecError:
        status = Status(message=body.decode("utf-8", "replace"))
    return msgspec.structs.replace(status, code=answer.status)


def _bounded(answer: urllib3.BaseHTTPResponse, doing: str) -> bytes:
    body = answer.read(BODY_BYTES_MAX + 1)
    if len(body) > BODY_BYTES_MAX:
        raise HostError(
            f"cannot {doing}: the answer is larger than {BODY_BYTES_MAX} bytes", "is it the right server?"
        )
    return body


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    for chunk in answer.stream(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, lines)
        if len(rest) > BODY_BYTES_MAX:
            raise HostError("an event of the API server is too large", "is it the right server?")


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason else error
    text = str(cause)
    return text.rpartition(": ")[2] if isinstance(error, urllib3.exceptions.NewConnectionError) else text
