"""Answers: a value as JSON, and an error as problem+json (RFC 9457) that says what to do."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from reconciler.model.codec import builtins
from reconciler.model.errors import UgsError

JSON = "application/json"
PROBLEM = "application/problem+json"
RETRY_AFTER_S = 5


def answer(value: object, status: int = 200, media_type: str = JSON) -> Response:
    return Response(msgspec.json.encode(builtins(value)), status, media_type=media_type)


def problem(status: int, error: UgsError) -> Response:
    body = {"status": status, "title": error.message, "remedy": error.remedy}
    said = answer(body, status, PROBLEM)
    if status == 503:
        said.headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == 401:
        said.headers["WWW-Authenticate"] = "Bearer"
    return said
