"""What every request passes on its way in and out: it gets an id, and its answer the headers that all have."""

from __future__ import annotations

import logging
import re
import secrets

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.api.answer import REQUEST_ID, problem
from reconciler.api.connection import HEAD_BYTES_MAX
from reconciler.model.errors import UgsError

REQUEST_ID_HEADER = "X-Request-Id"
SANE = re.compile(rb"[\w.:@/+=-]{1,100}")
"""An id that a client may choose: it ends in logs and headers."""
EVERY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Of every answer that does not say otherwise itself."""


FRAMINGS = {b"content-length", b"transfer-encoding"}
"""With both, a proxy may take the body to end elsewhere, and what follows for another caller's request."""


class Passage:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number = _id_of(scope)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = number
                for name, value in EVERY.items():
                    headers.setdefault(name, value)
            await send(message)

        before = REQUEST_ID.set(number)
        try:
            app = _refusal(scope) or self._app
            await app(scope, receive, sending)
        finally:
            REQUEST_ID.reset(before)


def _refusal(scope: Scope) -> Response | None:
    """What a request is answered whose head is no fair one; nothing after it is read. None for all others."""
    long = len(scope["query_string"]) + sum(len(name) + len(value) for name, value in scope["headers"])
    if len(scope["path"]) + long > HEAD_BYTES_MAX:
        said = problem(
            431, UgsError(f"a request's head is at most {HEAD_BYTES_MAX} bytes", "send less in it")
        )
    elif {name for name, _ in scope["headers"]} >= FRAMINGS:
        remedy = "send Content-Length or Transfer-Encoding alone"
        said = problem(400, UgsError("the request says twice how long it is", remedy))
    else:
        return None
    said.headers["Connection"] = "close"
    return said


class RequestIds(logging.Filter):
    """Gives what is logged for a request the request's id, as `request_id`."""

    def filter(self, record: logging.LogRecord) -> bool:
        if number := REQUEST_ID.get():
            record.request_id = number
        return True


def _id_of(scope: Scope) -> str:
    """The client's own id for the request, where it is one; else a new one."""
    asked = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return asked.decode() if SANE.fullmatch(asked) else secrets.token_hex(8)
