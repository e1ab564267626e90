"""What every request passes on its way in and out: it gets an id, and its answer the headers that all have."""

from __future__ import annotations

import logging
import re
import secrets

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.api.answer import REQUEST_ID

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
            await self._app(scope, receive, sending)
        finally:
            REQUEST_ID.reset(before)


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
