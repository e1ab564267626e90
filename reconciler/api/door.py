"""The way in: who asks, whether he may, and what becomes of what goes wrong. Every route is made from one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from reconciler.api.answer import Answer, answer, conditional, problem
from reconciler.api.denials import Denials
from reconciler.api.endpoint import BadRequest, Endpoint, TooLarge, TooSlow
from reconciler.api.entry import Denied, Missing, check, enter
from reconciler.api.idempotency import Idempotency, Unfinished
from reconciler.api.identity import Doorkeeper, Unknown
from reconciler.api.rates import OF_A_CALLER, OF_A_STRANGER, Rate, Rates, TooMany
from reconciler.engine import people
from reconciler.engine.daemon import Daemon
from reconciler.model.errors import TransientError, UgsError
from reconciler.model.rights import EVERYTHING, Caller, Place, Right

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
STATUSES: dict[type, int] = {
    BadRequest: 400,
    Unknown: 401,
    Denied: 403,
    Missing: 404,
    TooSlow: 408,
    people.Conflict: 409,
    TooLarge: 413,
    TooMany: 429,
    TransientError: 503,
}
ANSWER_S = 5.0
WAIT_S = 100.0
AT_WORK_MAX = 200
log = logging.getLogger("ugs")


class Busy(TransientError):
    """Too much is being asked at once."""


class Accepted(Struct, frozen=True):
    """What is asked for takes longer, and goes on."""

    sentence: str
    look_at: str
    """The route that tells what has come of it."""


class Door:
    """One daemon, who is let in to it, and who was turned away."""

    def __init__(self, daemon: Daemon, doorkeeper: Doorkeeper) -> None:
        self.daemon = daemon
        self.doorkeeper = doorkeeper
        self.denials = Denials(daemon.core)
        self.rates = Rates(daemon.core.clock)
        self.idempotency = Idempotency(daemon.core.store)
        self._at_work: set[asyncio.Task[object]] = set()

    def route(self, endpoint: Endpoint[T]) -> Route:
        """The route of an endpoint: whoever has its right is answered."""

        async def handle(request: Request) -> Response:
            caller = await self.known(request, by_url=endpoint.by_url)
            asked = await endpoint.asked(request)
            enter(self.daemon, endpoint, asked, caller)

            async def answered() -> Response:
                said = await self.done(endpoint, asked, caller)
                if isinstance(said, Response):
                    return said
                if endpoint.method == "GET" and not isinstance(said, Answer):
                    return conditional(said, request.headers.get("if-none-match", ""))
                return answer(said)

            if endpoint.right == "see":  # what only asks may be asked as often as one likes
                return await answered()
            return await self.idempotency.once(request, caller, asked, answered, secret=endpoint.secret)

        return Route(endpoint.path, self.guarded(handle), methods=[endpoint.method])

    async def done(self, endpoint: Endpoint[T], asked: T, caller: Caller) -> object:
        """What the endpoint answers in time. What takes longer is not cut off: it goes on by itself."""
        if len(self._at_work) >= AT_WORK_MAX:
            raise Busy(f"{AT_WORK_MAX} requests are at work already", "ask again in a moment")
        work = asyncio.ensure_future(endpoint.do(self.daemon, asked, caller))
        self._at_work.add(work)
        work.add_done_callback(self._at_work.discard)
        done, _ = await asyncio.wait([work], timeout=ANSWER_S if endpoint.later else WAIT_S)
        if done:
            return work.result()
        work.add_done_callback(_forgotten)
        sentence = "it takes longer, and goes on"
        if endpoint.later:
            return Answer(Accepted(sentence, endpoint.later), 202)
        raise Unfinished(f"it takes longer than {WAIT_S:.0f} s, and goes on", "look at GET /upgrade/status")

    async def known(
        self, request: Request, *, rate: Rate = OF_A_CALLER, of: str = "", by_url: bool = False
    ) -> Caller:
        """Who asks. `rate`: how often he may ask `of` this kind of route; `by_url`: a token in the URL counts.

        Raises Unknown and TooMany, and Denied for a token that does not belong into a URL.
        """
        if by_url and "token" in request.query_params:
            return await self._known_by_url(request)
        if request.client is None:  # over the socket, where the kernel says who it is
            caller = await self.doorkeeper(request)
        else:
            try:
                caller = await self.doorkeeper(request)
            except Unknown:
                # Whoever shows a good token is let in all the same: behind a proxy all may have one address.
                self.rates.take(f"address {request.client.host}", OF_A_STRANGER)
                raise
            who = f"person {caller.name}" if caller.token is None else f"token {caller.token}"
            self.rates.take(f"{who}{of}", rate)
        request.state.caller = caller
        return caller

    async def _known_by_url(self, request: Request) -> Caller:
        """Who asks with a token in the URL. URLs are kept and shown in many places: it must be good for little."""
        token = request.query_params["token"].encode("ascii", "replace")
        others = [pair for pair in request.scope["headers"] if pair[0] != b"authorization"]
        headers = [*others, (b"authorization", b"Bearer " + token)]
        caller = await self.known(Request({**request.scope, "headers": headers}))
        request.state.caller = caller
        if any(grant.role != "viewer" for grant in caller.grants):
            raise Denied(
                f"the token of {caller.name} may do more than see, and does not belong into a URL",
                "have one made with the role viewer for it, and revoke this one: URLs are kept in many places",
            )
        return caller

    async def let_in(
        self, request: Request, right: Right, place: Place = EVERYTHING, *, part: bool = False
    ) -> Caller:
        """Who asks, where he has the right there (`part`: somewhere there). Raises as `known`, Denied, Missing."""
        caller = await self.known(request)
        check(self.daemon, right, place, caller, part=part)
        return caller

    def guarded(self, handle: Handler, *, limited: bool = False) -> Handler:
        """An expected error becomes problem+json with what to do; who was turned away is remembered.

        `limited`: nobody is asked who he is, and each address may ask so often only.
        """

        async def routed(request: Request) -> Response:
            try:
                if limited and request.client:
                    self.rates.take(f"open {request.client.host}", OF_A_CALLER)
                return await handle(request)
            except (Unknown, Denied, Missing) as error:
                caller = getattr(request.state, "caller", None)
                self.denials.remember(request, caller.name if caller else "", error)
                return problem(STATUSES[type(error)], error)
            except UgsError as error:
                return problem(self.status(error), error)

        return routed

    def status(self, error: UgsError) -> int:
        if known := next((STATUSES[one] for one in type(error).__mro__ if one in STATUSES), None):
            return known
        return 503 if self.daemon.core.store.refused else 422


def _forgotten(work: asyncio.Task[object]) -> None:
    """What came of work that nobody waits for any more."""
    if not work.cancelled() and (error := work.exception()):
        level = logging.WARNING if isinstance(error, UgsError) else logging.ERROR
        log.log(level, "what was asked for over the API came to nothing: %s", error, exc_info=error)


Routes = Callable[[Door], Sequence[BaseRoute]]
"""Makes routes of a door: those that need no right, or look after it themselves by `door.let_in`."""
