"""OFREP: what OpenFeature clients in any language ask for flags, as https://github.com/open-feature/protocol has it.

A client's base URL is `/flags/ENVIRONMENT`, or `/` for whoever sees one environment alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.api.door import Door
from reconciler.api.endpoint import BadRequest, TooLarge, TooSlow, body_of
from reconciler.api.entry import Missing
from reconciler.api.flags import sees
from reconciler.api.identity import Unknown
from reconciler.api.ofrep_paths import BASES
from reconciler.api.rates import Rate, TooMany
from reconciler.engine.daemon import Daemon
from reconciler.engine.in_force import InForce
from reconciler.model.errors import UgsError
from reconciler.model.evaluation import ErrorCode, Evaluated, Failed, evaluate
from reconciler.model.rights import Caller, Place, sees_part_of
from reconciler.model.targeting import TARGETING_KEY, Context

Json = dict[str, Any]
RATE = Rate(burst=2000, per_s=1000)
"""A server asks at each use of a flag, with one token for all of its people."""
KEY_SHOWN_MAX = 100
NAME = "ugs"


class _Refused(UgsError):
    """Answered so, and nothing is evaluated."""

    def __init__(self, status: int, code: ErrorCode, details: str) -> None:
        super().__init__(details)
        self.status, self.code = status, code


class _Asked(Struct, frozen=True):
    """Who asks about the flags of which environment."""

    daemon: Daemon
    caller: Caller
    environment: str

    def seen(self) -> Iterator[tuple[str, InForce]]:
        """Those of the services that the caller may see, by name."""
        for name, flag in sorted(self.daemon.core.flags.get(self.environment, {}).items()):
            if sees(self.caller, self.environment, flag.standing):
                yield name, flag

    def one(self, key: str) -> InForce | None:
        flag = self.daemon.core.flags.get(self.environment, {}).get(key)
        return flag if flag and sees(self.caller, self.environment, flag.standing) else None


Handler = Callable[[Request, _Asked], Awaitable[Response]]


def routes(door: Door) -> list[Route]:
    """The protocol's three routes, under each base. Needs the right `see`; answers from memory alone."""

    def behind(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                caller = await door.known(request, rate=RATE, of=" flags")
                environment = _environment(door.daemon, caller, request.path_params.get("environment"))
                return await handler(request, _Asked(door.daemon, caller, environment))
            except UgsError as error:
                return _failure(door, request, error)

        return endpoint

    return [
        route
        for base in BASES
        for route in (
            Route(f"{base}/evaluate/flags", behind(_all), methods=["POST"]),
            Route(f"{base}/evaluate/flags/{{key:path}}", behind(_one), methods=["POST"]),
            Route(f"{base}/configuration", behind(_configuration), methods=["GET"]),
        )
    ]


async def _one(request: Request, asked: _Asked) -> Response:
    key = request.path_params["key"]
    context = await _context(request)
    flag = asked.one(key)
    if flag is None:
        raise _Refused(404, "FLAG_NOT_FOUND", f"{asked.environment} has no flag {key[:KEY_SHOWN_MAX]}")
    found = evaluate(flag.standing, context)
    return _json(400 if isinstance(found, Failed) else 200, _told(found, asked.environment, flag))


async def _all(request: Request, asked: _Asked) -> Response:
    context = await _context(request)
    told = [_told(evaluate(flag.standing, context), asked.environment, flag) for _, flag in asked.seen()]
    return _tagged(request, {"flags": told})


async def _configuration(request: Request, _asked: _Asked) -> Response:
    return _tagged(request, {"name": NAME, "capabilities": {}})


def _environment(daemon: Daemon, caller: Caller, asked: str | None) -> str:
    """The one that is meant. Raises Missing, also for one that the caller may not see."""
    known = sorted(
        name
        for name in daemon.fleet.passes.keys() | daemon.core.flags.keys()
        if sees_part_of(caller, Place(name))
    )
    if asked in known:
        return asked
    bases = ", ".join(f"/flags/{name}" for name in known) or "none"
    if asked is None and len(known) == 1:
        return known[0]
    missing = (
        "it is not said which environment is meant"
        if asked is None
        else f"there is no environment {asked[:KEY_SHOWN_MAX]}"
    )
    raise Missing(missing, f"give the client a base URL that ends in one of: {bases}")


async def _context(request: Request) -> Context:
    try:
        body = await body_of(request)
    except BadRequest as error:
        raise _Refused(400, "PARSE_ERROR", error.message) from error
    context = body.get("context")
    if context is None:
        return {}
    if not isinstance(context, dict):
        raise _Refused(400, "INVALID_CONTEXT", "the context must be an object")
    if not isinstance(context.get(TARGETING_KEY, ""), str):
        raise _Refused(400, "INVALID_CONTEXT", f"{TARGETING_KEY} must be a text")
    return context


def _told(found: Evaluated | Failed, environment: str, flag: InForce) -> Json:
    if isinstance(found, Failed):
        return {"key": found.key, "errorCode": found.code, "errorDetails": found.details}
    return {
        "key": found.key,
        "value": found.value,
        "variant": found.variant,
        "reason": found.reason,
        "metadata": {
            "environment": environment,
            "revision": flag.revision,
            "live": flag.standing.live,
        },
    }


def _failure(door: Door, request: Request, error: UgsError) -> Response:
    """In the protocol's words; who was turned away is remembered."""
    code, headers = "GENERAL", {}
    match error:
        case _Refused():
            status, code = error.status, error.code
        case Unknown():
            status, headers = 401, {"WWW-Authenticate": "Bearer"}
        case TooMany():
            status, headers = 429, {"Retry-After": str(error.retry_after_s)}
        case Missing():
            # The protocol knows one error code beside 404, whatever it is that is not there.
            status, code = 404, "FLAG_NOT_FOUND" if "key" in request.path_params else "GENERAL"
        case TooLarge():
            status, code = 413, "PARSE_ERROR"
        case TooSlow():
            status, code = 408, "PARSE_ERROR"
        case _:
            status = 500
    if isinstance(error, Unknown | Missing):
        caller = getattr(request.state, "caller", None)
        door.denials.remember(request, caller.name if caller else "", error)
    key = {"key": request.path_params["key"]} if "key" in request.path_params else {}
    return _json(status, {**key, "errorCode": code, "errorDetails": str(error)}, headers)


def _tagged(request: Request, body: Json) -> Response:
    """200 with an entity tag, or 304 where the client has exactly that already."""
    data = msgspec.json.encode(body)
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if any(one in {tag, "*"} for one in _tags(request.headers.get("if-none-match", ""))):
        return Response(status_code=304, headers=headers)
    return Response(data, 200, headers, "application/json")


def _tags(text: str) -> Iterator[str]:
    for one in text.split(","):
        yield one.strip().removeprefix("W/")


def _json(status: int, body: Json, headers: Mapping[str, str] = {}) -> Response:
    return Response(msgspec.json.encode(body), status, dict(headers), "application/json")
