"""The routes. Everything that changes what runs goes through a commit, a gate, or a person's verdict."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler import __version__
from reconciler.api.permits import SAYINGS, Saying
from reconciler.engine import people, recovery
from reconciler.engine.daemon import Daemon
from reconciler.engine.status import explain_of, plan_of, quarantine_of, recover_of, status_of
from reconciler.model.codec import builtins, convert
from reconciler.model.errors import TransientError, UgsError

T = TypeVar("T")
BODY_BYTES_MAX = 64 * 1024
ACTOR_HEADER = "x-ugs-actor"
ACTOR_LENGTH_MAX = 100
RETRY_AFTER_S = 5


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """Of a request that has nothing to say."""


class Sync(Struct, frozen=True, forbid_unknown_fields=True):
    accept_rewrite: bool = False


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str | None = None


class Service(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    service: str


class Reasoned(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    service: str
    reason: str = ""


def application(daemon: Daemon) -> Starlette:
    """The ASGI application for one daemon. It runs on the daemon's own loop."""
    routes = [
        Route("/upgrade/status", _answer(daemon, _status)),
        Route("/upgrade/explain", _answer(daemon, _explain)),
        Route("/upgrade/plan", _answer(daemon, _plan), methods=["POST"]),
        Route("/upgrade/rollback", _answer(daemon, _rollback), methods=["POST"]),
        Route("/upgrade/retry", _answer(daemon, _retry), methods=["POST"]),
        Route("/quarantine", _answer(daemon, _quarantine)),
        Route("/quarantine/release", _answer(daemon, _release), methods=["POST"]),
        Route("/recover", _answer(daemon, _recover)),
        Route("/recover/accept", _answer(daemon, _accept), methods=["POST"]),
        Route("/health/check", _answer(daemon, _health)),
        Route("/sync", _answer(daemon, _sync), methods=["POST"]),
        *(Route(one.path, _answer(daemon, _said(one)), methods=[one.method]) for one in SAYINGS),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_problem})


Handler = Callable[[Daemon, Request], Awaitable[object]]


def _answer(daemon: Daemon, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """A value as JSON; an expected error as problem+json with what to do."""

    async def endpoint(request: Request) -> Response:
        try:
            return _json(200, await handler(daemon, request))
        except people.Conflict as error:
            return _problem(409, error)
        except TransientError as error:
            return _problem(503, error)
        except UgsError as error:
            return _problem(503 if daemon.core.store.refused else 422, error)

    return endpoint


def _said(saying: Saying[T]) -> Handler:
    """A route of permits.py: what is said is in the body, or in the query of a GET."""

    async def handler(daemon: Daemon, request: Request) -> object:
        if saying.method == "GET":
            wanted = _checked(dict(request.query_params), saying.kind)
        else:
            wanted = await _body(request, saying.kind)
        return await saying.do(daemon, wanted, _actor(request))

    return handler


async def _status(daemon: Daemon, request: Request) -> object:
    about = {"pid": os.getpid(), "version": __version__, "started_at": builtins(daemon.started_at)}
    return status_of(daemon.fleet, about, environment=request.query_params.get("environment"))


async def _explain(daemon: Daemon, request: Request) -> object:
    query = _checked(dict(request.query_params), Service)
    return explain_of(daemon.fleet, query.environment, query.service)


async def _plan(daemon: Daemon, request: Request) -> object:
    await _body(request, Nothing)
    return plan_of(daemon.fleet)


async def _rollback(daemon: Daemon, request: Request) -> object:
    wanted = await _body(request, Reasoned)
    operation = await people.rollback(
        daemon.fleet, wanted.environment, wanted.service, actor=_actor(request), reason=wanted.reason
    )
    return {"operation": operation}


async def _retry(daemon: Daemon, request: Request) -> object:
    wanted = await _body(request, Service)
    commit = await people.retry(daemon.fleet, wanted.environment, wanted.service, actor=_actor(request))
    return {"commit": commit}


async def _quarantine(daemon: Daemon, _request: Request) -> object:
    return quarantine_of(daemon.fleet)


async def _release(daemon: Daemon, request: Request) -> object:
    wanted = await _body(request, Reasoned)
    released = people.release(
        daemon.fleet, wanted.environment, wanted.service, actor=_actor(request), why=wanted.reason
    )
    return {"released": [{"operation": row.operation, "target": str(row.target)} for row in released]}


async def _recover(daemon: Daemon, _request: Request) -> object:
    return recover_of(daemon.fleet)


async def _accept(daemon: Daemon, request: Request) -> object:
    wanted = await _body(request, Place)
    fleet = daemon.fleet
    accepted = recovery.accept(fleet.core, fleet.passes, wanted.environment, actor=_actor(request))
    return {"accepted": accepted}


async def _health(daemon: Daemon, _request: Request) -> object:
    """Whether this daemon can do its work. Raises TransientError where it cannot, for as long."""
    if refused := daemon.core.store.refused:
        raise TransientError(f"the database cannot be written: {refused}")
    return {"ready": True}


async def _sync(daemon: Daemon, request: Request) -> object:
    wanted = await _body(request, Sync)
    return {"revision": await daemon.fleet.refresh(accept_rewrite=wanted.accept_rewrite)}


async def _body(request: Request, kind: type[T]) -> T:
    """The request's JSON, bounded and checked. Raises HTTPException 400 or 413."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_BYTES_MAX:
            raise HTTPException(413, f"a body is at most {BODY_BYTES_MAX} bytes")
    try:
        return _checked(msgspec.json.decode(data or b"{}"), kind)
    except (ValueError, RecursionError) as error:  # malformed, not UTF-8, or nested without end
        raise HTTPException(400, str(error)) from error


def _checked(data: object, kind: type[T]) -> T:
    """What a client sent, as a typed value. Raises HTTPException 400."""
    try:
        return convert(data, kind)
    except msgspec.ValidationError as error:
        raise HTTPException(400, str(error)) from error


def _actor(request: Request) -> str:
    """Who asks: the socket is its owner's alone, so the name that the client gives is taken."""
    name = request.headers.get(ACTOR_HEADER, "unknown")
    return "".join(c for c in name if c.isprintable())[:ACTOR_LENGTH_MAX]


async def _http_problem(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _problem(error.status_code, UgsError(str(error.detail)))


def _json(status: int, value: object, media_type: str = "application/json") -> Response:
    return Response(msgspec.json.encode(builtins(value)), status, media_type=media_type)


def _problem(status: int, error: UgsError) -> Response:
    body = {"status": status, "title": error.message, "remedy": error.remedy}
    answer = _json(status, body, "application/problem+json")
    if status == 503:
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer
