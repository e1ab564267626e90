"""Webhooks: somebody who knows the secret says that the branch, or a pull request into it, has moved. All that comes
of it is a look, soon."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from reconciler.api.answer import answer
from reconciler.api.door import Door
from reconciler.api.endpoint import BadRequest, TooLarge, TooSlow
from reconciler.api.entry import Missing
from reconciler.api.identity import Unknown
from reconciler.api.rates import OF_A_STRANGER, TooMany
from reconciler.clock import Clock
from reconciler.model.delivered import concerns, read_event
from reconciler.model.delivery import PROVIDERS, Became, Provider, delivery_of, genuine, shown
from reconciler.model.errors import HostError, TransientError, UgsError

log = logging.getLogger("ugs")
BODY_BYTES_MAX = 1 << 20
"""A push of so many commits that it is larger waits for the poll."""
BODY_WITHIN_S = 10.0
READ_AT_ONCE_MAX = 32
"""So many deliveries are read side by side: together they hold no more than this many bodies."""
KNOWN_MAX = 1_000
"""So many deliveries are known again. They are kept in memory alone: after a restart one that is sent again costs
a fetch, and a write for each delivery would cost more."""
NUDGES_APART_S = 1.0
REFUSED: Mapping[type[UgsError], Became] = {
    Unknown: "unsigned",
    TooLarge: "too-large",
    TooSlow: "too-slow",
    TooMany: "limited",
    BadRequest: "malformed",
    TransientError: "unread",
}


class Bell:
    """Nudges that keep a distance: the first goes at once, and what comes too soon after it is one more, later."""

    def __init__(self, clock: Clock, nudge: Callable[[], None]) -> None:
        self._clock = clock
        self._nudge = nudge
        self._again = False
        self._ringing: asyncio.Task[None] | None = None

    def ring(self) -> None:
        self._again = True
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._ring())

    async def _ring(self) -> None:
        while self._again:
            self._again = False
            self._nudge()
            await self._clock.sleep(NUDGES_APART_S)


class Webhooks:
    """`POST /webhook/{provider}` for the providers that ugs.yaml names."""

    def __init__(self, door: Door) -> None:
        self._core = door.daemon.core
        self._rates = door.rates
        self._pushes = Bell(self._core.clock, door.daemon.nudge)
        self._pulls = Bell(self._core.clock, self._core.look_at_pulls)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._reading = 0
        self._told = ""

    async def delivered(self, request: Request) -> Response:
        """202 with what comes of it. Raises what the door makes a refusal of."""
        provider = self._provider(request)
        try:
            became, did = await self._taken(provider, request)
        except UgsError as error:
            self._core.deliveries[provider, REFUSED.get(type(error), "unread")] += 1
            raise
        self._core.deliveries[provider, became] += 1
        return answer({"did": did}, 202)

    async def _taken(self, provider: Provider, request: Request) -> tuple[Became, str]:
        who = f"webhooks {request.client.host if request.client else ''}"
        self._rates.look(who, OF_A_STRANGER)
        try:
            if not shown(provider, request.headers):
                raise _forged(provider)
            body = await self._read(request)
            self._check(provider, request, body)
        except (Unknown, TooLarge, TooSlow):
            self._rates.take(who, OF_A_STRANGER)  # who knows the secret may come as often as he likes
            raise
        return self._heed(provider, request, body)

    def _heed(self, provider: Provider, request: Request, body: bytes) -> tuple[Became, str]:
        """What comes of a genuine delivery. Raises BadRequest."""
        delivery = delivery_of(provider, request.headers, body)
        if delivery in self._known:
            return "duplicate", "nothing: this delivery came before"
        try:
            event = read_event(provider, request.headers, body)
        except ValueError as error:
            raise BadRequest(
                f"this is no event as {provider} writes it: {error}", "see the provider's log"
            ) from error
        self._remember(delivery)
        ours = self._core.settings.repository
        if event is None:
            return "ignored", "nothing: this is neither a push nor a pull request"
        if not concerns(event, ours.branch, ours.url):
            return "ignored", f"nothing: this is not {ours.branch} of the repository that is followed"
        if event.pull:
            if self._core.forge is None:
                return "ignored", "nothing: ugs.yaml names no forge"
            self._pulls.ring()
            return "heeded", "the pull requests will be looked at"
        self._pushes.ring()
        return "heeded", "it will be fetched"

    def _provider(self, request: Request) -> Provider:
        provider = request.path_params["provider"]
        if provider not in self._core.settings.webhooks:
            raise Missing(
                f"no webhook of {provider[:100]} is expected",
                f"ugs.yaml may name {', '.join(PROVIDERS)} under `webhooks`",
            )
        return cast(Provider, provider)

    def _check(self, provider: Provider, request: Request, body: bytes) -> None:
        """Raise Unknown unless the sender knows one of the secrets, as they are now; TransientError where he may know
        one that cannot be read."""
        now, unread = self._core.clock.now(), None
        for secret in self._core.settings.webhooks[provider]:
            try:
                value = secret.read()
            except HostError as error:
                unread = error
                continue
            if genuine(provider, request.headers, body, value, now=now):
                return
        if unread is None:
            raise _forged(provider)
        if self._told != str(
            unread
        ):  # once in the log while it is so: anybody may ask, and nobody is to fill it
            self._told = str(unread)
            log.error("webhooks: %s", unread)
        raise TransientError("the daemon cannot check this now", "see its log")

    async def _read(self, request: Request) -> bytes:
        """The body as it came, bounded in size and time. Raises TooLarge, TooSlow, TransientError."""
        large = TooLarge(f"a delivery is at most {BODY_BYTES_MAX} bytes", "it is found by polling")
        said = request.headers.get("content-length", "")
        if said.isdigit() and int(said[:20]) > BODY_BYTES_MAX:
            raise large
        if self._reading >= READ_AT_ONCE_MAX:
            raise TransientError(f"{READ_AT_ONCE_MAX} deliveries are being read already", "deliver it again")
        self._reading += 1
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                body = bytearray()
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > BODY_BYTES_MAX:
                        raise large
                return bytes(body)
        except (TimeoutError, ClientDisconnect) as error:
            raise TooSlow(
                f"the delivery did not come within {BODY_WITHIN_S:g} s", "deliver it again"
            ) from error
        finally:
            self._reading -= 1

    def _remember(self, delivery: str) -> None:
        self._known[delivery] = None
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)


def _forged(provider: str) -> Unknown:
    return Unknown(
        "the signature is missing or wrong", f"give {provider} the secret of `webhooks.{provider}`"
    )


def routes(door: Door) -> Sequence[BaseRoute]:
    return [Route("/webhook/{provider}", door.guarded(Webhooks(door).delivered), methods=["POST"])]
