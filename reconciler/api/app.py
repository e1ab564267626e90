"""The application: every route with the right that it needs. Everything that changes what runs goes through a commit,
a gate, or a person's verdict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.api import permits, tokens, upgrades
from reconciler.api.answer import answer, problem
from reconciler.api.denials import Denials
from reconciler.api.endpoint import Endpoint
from reconciler.api.entry import Denied, Missing, enter
from reconciler.api.identity import Doorkeeper, Unknown
from reconciler.engine import people
from reconciler.engine.daemon import Daemon
from reconciler.model.errors import TransientError, UgsError

T = TypeVar("T")
ENDPOINTS: tuple[Endpoint[Any], ...] = (*upgrades.ENDPOINTS, *permits.ENDPOINTS, *tokens.ENDPOINTS)
"""Every route that needs a right. The tests walk it: method by role by place."""

STATUSES: dict[type[UgsError], int] = {Unknown: 401, Denied: 403, Missing: 404}


def application(daemon: Daemon, doorkeeper: Doorkeeper) -> Starlette:
    """The ASGI application for one daemon, behind one door. It runs on the daemon's own loop."""
    denials = Denials(daemon.core)
    routes = [
        *(
            Route(one.path, _routed(daemon, doorkeeper, denials, one), methods=[one.method])
            for one in ENDPOINTS
        ),
        Route("/health/check", _health(daemon)),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_problem})


def _routed(
    daemon: Daemon, doorkeeper: Doorkeeper, denials: Denials, endpoint: Endpoint[T]
) -> Callable[[Request], Awaitable[Response]]:
    """A value as JSON; an expected error as problem+json with what to do."""

    async def routed(request: Request) -> Response:
        name = ""
        try:
            caller = await doorkeeper(request)
            name = caller.name
            asked = await endpoint.asked(request)
            enter(daemon, endpoint, asked, caller)
            return answer(await endpoint.do(daemon, asked, caller))
        except (Unknown, Denied, Missing) as error:
            denials.remember(request, name, error)
            return problem(STATUSES[type(error)], error)
        except people.Conflict as error:
            return problem(409, error)
        except TransientError as error:
            return problem(503, error)
        except UgsError as error:
            return problem(503 if daemon.core.store.refused else 422, error)

    return routed


def _health(daemon: Daemon) -> Callable[[Request], Awaitable[Response]]:
    async def health(_request: Request) -> Response:
        """Whether this daemon can do its work."""
        if refused := daemon.core.store.refused:
            return problem(503, TransientError(f"the database cannot be written: {refused}"))
        return answer({"ready": True})

    return health


async def _http_problem(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return problem(error.status_code, UgsError(str(error.detail)))
