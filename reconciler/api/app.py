"""The application: every route with the right that it needs. Everything that changes what runs goes through a commit,
a gate, or a person's verdict.

A new route goes into a table of `Endpoint`s, which is listed in ENDPOINTS: its right is checked, its answer
documented, and the tests walk it. What cannot be one (an open route, a signed one, a stream with a life of its own)
comes from a function of the `Door`: listed in OPEN, or handed in as `more` by whoever builds what it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from reconciler.api import (
    calendar,
    catalogue,
    events,
    flags,
    health,
    metrics,
    migrations,
    ofrep,
    openapi,
    past,
    permits,
    probes,
    recovery,
    status,
    tokens,
    upgrades,
    webhooks,
)
from reconciler.api.answer import problem
from reconciler.api.door import Door, Routes
from reconciler.api.endpoint import Endpoint
from reconciler.api.identity import Doorkeeper
from reconciler.api.passage import Passage
from reconciler.engine.daemon import Daemon
from reconciler.model.errors import UgsError

ENDPOINTS: tuple[Endpoint[Any], ...] = (
    *status.ENDPOINTS,
    *upgrades.ENDPOINTS,
    *recovery.ENDPOINTS,
    *past.ENDPOINTS,
    *probes.ENDPOINTS,
    *permits.ENDPOINTS,
    *migrations.ENDPOINTS,
    *flags.ENDPOINTS,
    *calendar.ENDPOINTS,
    *catalogue.ENDPOINTS,
    *tokens.ENDPOINTS,
    *metrics.ENDPOINTS,
    *events.ENDPOINTS,
)
"""Every route that needs a right. The tests walk it: method by role by place."""
OPEN: tuple[Routes, ...] = (openapi.routes(ENDPOINTS), health.routes, ofrep.routes, webhooks.routes)
"""Every route that needs none, or looks after it by itself."""

HTTP = {
    404: ("there is no such route", "see /openapi.json for those that are there"),
    405: ("this route takes another method", "the header Allow says which"),
}


def application(daemon: Daemon, doorkeeper: Doorkeeper, more: Sequence[Routes] = ()) -> Passage:
    """The ASGI application for one daemon, behind one door. It runs on the daemon's own loop."""
    door = Door(daemon, doorkeeper)
    routes: list[BaseRoute] = [door.route(one) for one in ENDPOINTS]
    for make in (*OPEN, *more):
        routes += make(door)
    handlers = {HTTPException: _http_problem, Exception: _bug}
    return Passage(Starlette(routes=routes, exception_handlers=handlers))


async def _http_problem(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    said = problem(error.status_code, UgsError(*HTTP.get(error.status_code, (str(error.detail), ""))))
    said.headers.update(error.headers or {})
    return said


async def _bug(_request: Request, _error: Exception) -> Response:
    """The server logs it, with its traceback."""
    return problem(500, UgsError("this is a bug in UGS", "report it with what the daemon's log says"))
