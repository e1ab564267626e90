"""The way in: who asks, whether he may, and what becomes of what goes wrong. Every route is made from one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from reconciler.api.answer import answer, problem
from reconciler.api.denials import Denials
from reconciler.api.endpoint import Endpoint
from reconciler.api.entry import Denied, Missing, check, enter
from reconciler.api.identity import Doorkeeper, Unknown
from reconciler.engine import people
from reconciler.engine.daemon import Daemon
from reconciler.model.errors import TransientError, UgsError
from reconciler.model.rights import EVERYTHING, Caller, Place, Right

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
STATUSES: dict[type[UgsError], int] = {Unknown: 401, Denied: 403, Missing: 404}


@dataclass(frozen=True)
class Door:
    """One daemon, who is let in to it, and who was turned away."""

    daemon: Daemon
    doorkeeper: Doorkeeper
    denials: Denials

    def route(self, endpoint: Endpoint[T]) -> Route:
        """The route of an endpoint: whoever has its right is answered."""

        async def handle(request: Request) -> Response:
            caller = await self.known(request)
            asked = await endpoint.asked(request)
            enter(self.daemon, endpoint, asked, caller)
            said = await endpoint.do(self.daemon, asked, caller)
            return said if isinstance(said, Response) else answer(said)

        return Route(endpoint.path, self.guarded(handle), methods=[endpoint.method])

    async def known(self, request: Request) -> Caller:
        """Who asks. Raises Unknown."""
        caller = await self.doorkeeper(request)
        request.state.caller = caller
        return caller

    async def let_in(
        self, request: Request, right: Right, place: Place = EVERYTHING, *, part: bool = False
    ) -> Caller:
        """Who asks, where he has the right there (`part`: somewhere there). Raises Unknown, Denied and Missing."""
        caller = await self.known(request)
        check(self.daemon, right, place, caller, part=part)
        return caller

    def guarded(self, handle: Handler) -> Handler:
        """An expected error becomes problem+json with what to do; who was turned away is remembered."""

        async def routed(request: Request) -> Response:
            try:
                return await handle(request)
            except (Unknown, Denied, Missing) as error:
                caller = getattr(request.state, "caller", None)
                self.denials.remember(request, caller.name if caller else "", error)
                return problem(STATUSES[type(error)], error)
            except people.Conflict as error:
                return problem(409, error)
            except TransientError as error:
                return problem(503, error)
            except UgsError as error:
                return problem(503 if self.daemon.core.store.refused else 422, error)

        return routed


Routes = Callable[[Door], Sequence[BaseRoute]]
"""Makes routes of a door: those that need no right, or look after it themselves by `door.let_in`."""
