"""Answers: a value as JSON, and an error as problem+json (RFC 9457) that says what to do."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from reconciler.model.codec import builtins, encode_unordered
from reconciler.model.errors import UgsError

JSON = "application/json"
PROBLEM = "application/problem+json"
RETRY_AFTER_S = 5
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is being answered; empty outside of one. Whatever is logged meanwhile may carry it."""

PROBLEMS: dict[int, tuple[str, str]] = {
    400: ("bad-request", "The request is not what this route takes"),
    401: ("unauthorized", "Nobody knows who asks"),
    403: ("forbidden", "This takes another role"),
    404: ("not-found", "There is no such thing here"),
    405: ("method-not-allowed", "This route takes another method"),
    408: ("too-slow", "The request took too long to arrive"),
    409: ("conflict", "It does not fit what is so at this moment"),
    413: ("too-large", "The request is too large"),
    422: ("unprocessable", "It cannot be done as it is asked for"),
    429: ("too-many-requests", "Too many requests"),
    431: ("too-large", "The request is too large"),
    500: ("bug", "A bug in UGS"),
    503: ("unavailable", "It cannot be done now"),
}
"""By status: what machines know a problem by, and its title."""


class Problem(msgspec.Struct, frozen=True):
    """The shape of every refusal. `instance`: the request's id, as `X-Request-Id` has it."""

    type: str
    title: str
    status: int
    detail: str
    """What is wrong, in a sentence."""
    instance: str
    remedy: str
    """What to do; may be empty."""


class Detailed(UgsError):
    """An error with more to say than a sentence. `kind`: what machines know it by, where that is not the status's."""

    def __init__(self, message: str, remedy: str = "", *, kind: str = "", **more: Any) -> None:
        super().__init__(message, remedy)
        self.kind, self.more = kind, more


@dataclass(frozen=True)
class Answer:
    """An answer with another status than 200."""

    value: object
    status: int


@dataclass(frozen=True)
class Encoded:
    """A value as the JSON that it is sent as."""

    body: bytes
    etag: str


def encoded(value: Any) -> Encoded:
    """`as_of` is when it was looked at: what was so then may be so still."""
    if isinstance(value, dict) and "as_of" in value:
        dated = {"as_of": value["as_of"]}
        rest = encode_unordered({name: one for name, one in value.items() if name != "as_of"})
        body = encode_unordered(dated).removesuffix(b"}") + b"," + rest.removeprefix(b"{")
    else:
        body = rest = encode_unordered(value)
    return Encoded(body, f'W/"{hashlib.blake2b(rest, digest_size=12).hexdigest()}"')


def conditional(value: object, known: str) -> Response:
    """The answer to a GET; without its body where the client has it: `known` is its `If-None-Match`."""
    whole = value if isinstance(value, Encoded) else encoded(value)
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    if tags & {"*", whole.etag.removeprefix("W/")}:
        return Response(status_code=304, headers={"ETag": whole.etag})
    return Response(whole.body, media_type=JSON, headers={"ETag": whole.etag})


def answer(value: object, status: int = 200, media_type: str = JSON) -> Response:
    if isinstance(value, Answer):
        return answer(value.value, value.status, media_type)
    return Response(encode_unordered(value), status, media_type=media_type)


def problem(status: int, error: UgsError) -> Response:
    """The refusal. What an error has in `kind` and `more` is told too."""
    kind, title = PROBLEMS.get(status, ("error", "It was refused"))
    body = Problem(
        type=f"urn:ugs:problem:{getattr(error, 'kind', '') or kind}",
        title=title,
        status=status,
        detail=error.message,
        instance=f"urn:ugs:request:{REQUEST_ID.get()}",
        remedy=error.remedy,
    )
    said = answer(builtins(body) | getattr(error, "more", {}), status, PROBLEM)
    if status in {429, 503}:
        said.headers["Retry-After"] = str(getattr(error, "retry_after_s", RETRY_AFTER_S))
    if status == 401:
        said.headers["WWW-Authenticate"] = "Bearer"
    return said
