"""One route as a value: what it asks for, which right it needs and where, and who answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request

from reconciler.api.answer import JSON
from reconciler.engine.daemon import Daemon
from reconciler.model.codec import convert
from reconciler.model.errors import UgsError
from reconciler.model.rights import Caller, Place, Right

T = TypeVar("T")
BODY_BYTES_MAX = 64 * 1024
BODY_S = 30.0
LOOK = "see what the route takes in /openapi.json"


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """Of a request that has nothing to say."""


class Where(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str | None = None


class Service(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    service: str


def named(_daemon: Daemon, asked: object) -> Place | None:
    """The place that a request names by `environment` and `service`; where it names none, everything."""
    return Place(getattr(asked, "environment", None), getattr(asked, "service", None))


@dataclass(frozen=True)
class Endpoint(Generic[T]):
    """`asks` is what a POST's body, or a GET's query, says, with what the path's parameters and the `headers` named
    here add to it; `do` gets that and who says it, and gives the answer: a value, or a whole Response where it is not
    JSON.

    `headers`: by field of `asks`, the header that fills it, where the request has it.
    `answers`: the type of a value that is answered, and `media` what it is sent as, and
    `status` with which: for the documentation.
    `later`: where to look for what has not come of it within ANSWER_S, and is answered with 202. Elsewhere a caller
    waits for up to WAIT_S.
    `by_url`: a token that may only see is also taken from the query.
    `secret`: there is one in the answer, which is kept nowhere.
    `part`: whoever has the right somewhere in the place may ask, and is answered with what he may see.
    `place`: what the request is about; None where it is about nothing that is there.
    """

    method: Literal["GET", "POST"]
    path: str
    summary: str
    right: Right
    asks: type[T]
    do: Callable[[Daemon, T, Caller], Awaitable[object]]
    part: bool = False
    place: Callable[[Daemon, T], Place | None] = named
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: Any = dict[str, Any]
    media: str = JSON
    status: int = 200
    later: str = ""
    by_url: bool = False
    secret: bool = False

    async def asked(self, request: Request) -> T:
        """What this request asks. Raises BadRequest, TooLarge and TooSlow."""
        beside = dict(request.path_params)
        beside |= {name: request.headers[one] for name, one in self.headers.items() if one in request.headers}
        if self.method == "GET":
            return _checked(dict(request.query_params) | beside, self.asks, strict=False)
        return _checked(await body_of(request) | beside, self.asks)


class BadRequest(UgsError):
    """What was sent is not what the route takes."""


class TooLarge(UgsError):
    """The body is larger than any may be."""


class TooSlow(UgsError):
    """The body did not arrive in time, or not at all."""


async def bytes_of(request: Request, bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The request's body, bounded in size and time. Raises TooLarge and TooSlow."""
    data = b""
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > bytes_max:
                    raise TooLarge(f"a body is at most {bytes_max} bytes", "ask for less at once")
    except TimeoutError as error:
        raise TooSlow(f"the body took more than {BODY_S:.0f} s to arrive", "send it faster") from error
    except ClientDisconnect as error:
        raise TooSlow("the client went away before its body was there", "send it again") from error
    return data


async def body_of(request: Request) -> dict[str, Any]:
    """The request's JSON object, bounded in size and time. Raises BadRequest, TooLarge and TooSlow."""
    data = await bytes_of(request)
    try:
        return msgspec.json.decode(data or b"{}", type=dict[str, Any])
    except (ValueError, RecursionError) as error:  # malformed, not UTF-8, or nested without end
        raise BadRequest(str(error), LOOK) from error


def _checked(data: object, kind: type[T], *, strict: bool = True) -> T:
    """What a client sent, as a typed value; in a query numbers are text."""
    try:
        return convert(data, kind, strict=strict)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise BadRequest(str(error), LOOK) from error
