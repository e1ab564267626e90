"""Signing in at a provider: the way there, and the way back into a session of the browser's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from reconciler.api.door import Door, Handler, Routes
from reconciler.api.entry import Denied
from reconciler.api.identity import Unknown, begin_session, rights_of, set_session, signed_in
from reconciler.api.rates import OF_A_CALLER
from reconciler.api.web.page import Pages
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.people import CALLBACK, END, LEAVE, Nameless
from reconciler.model.rights import Caller
from reconciler.oidc import Invalid, Issuer, Issuers, Pending, end_at, exchanged, leave_for

log = logging.getLogger("ugs")
LASTS = timedelta(minutes=10)
"""How long somebody may take at the provider."""
SESSION_LASTS = timedelta(hours=8)
"""The provider is asked for somebody's groups when he signs in: so old they become at the most."""
USED_MAX = 1_000
NEXT_CHARS_MAX = 500
CODE_CHARS_MAX = 4_096
COOKIE_CHARS_MAX = 2_000
HINT_CHARS_MAX = 3_500
"""Browsers keep no more than 4096 bytes of a cookie."""
HINT = "ugs_signin_hint"
ANEW = "sign in anew"


class Begun(Struct, frozen=True):
    """What the browser keeps while it is at the provider. `next`: where it goes on afterwards, with us."""

    pending: Pending
    next: str
    until: datetime


class SignIn:
    """The routes. Nothing is kept here for those who have not come back; their browsers do."""

    def __init__(self, door: Door, pages: Pages, issuer: Issuer, redirect_uri: str) -> None:
        self._pages = pages
        self._core, self._issuer = door.daemon.core, issuer
        self._key = secrets.token_bytes(32)
        self._used: OrderedDict[str, None] = OrderedDict()
        self._safely = urlsplit(redirect_uri).scheme == "https"
        # With __Host- no neighbour of ours can put one of his own in its place.
        self._cookie = "__Host-ugs_signin" if self._safely else "ugs_signin"

    async def leave(self, request: Request) -> Response:
        """Send the browser to the provider. Raises TransientError."""
        pending, url = await leave_for(self._issuer)
        until = self._core.clock.now() + LASTS
        begun = Begun(pending, own_path(request.query_params.get("next", "/")), until)
        response = RedirectResponse(url, 303)
        response.set_cookie(
            self._cookie,
            self._sealed(begun),
            max_age=int(LASTS.total_seconds()),
            path="/",
            secure=self._safely,
            httponly=True,
            samesite="lax",  # the provider sends the browser back
        )
        return response

    async def arrive(self, request: Request) -> Response:
        """Let somebody in whom the provider sends back. Raises Unknown, Denied and TransientError."""
        begun, query = self._begun(request), request.query_params
        if error := query.get("error"):
            told = "".join(c for c in error[:100] if c.isprintable())
            raise Unknown(f"the provider did not let you in: {told}", ANEW)
        if not 0 < len(code := query.get("code", "")) <= CODE_CHARS_MAX:
            raise Unknown("the provider sent no code", ANEW)
        self._use(begun.pending.state)
        try:
            arrived = await exchanged(self._issuer, begun.pending, code, query.get("iss"))
        except (Invalid, Nameless) as wrong:
            raise Unknown(wrong.message, wrong.remedy) from wrong
        except HostError as trouble:
            raise TransientError("the provider cannot be asked now", str(trouble)) from trouble
        until = self._core.clock.now() + SESSION_LASTS
        somebody = arrived.person
        caller = Caller(somebody.name, rights_of(self._core, somebody), until=until)
        detail = f"at {self._issuer.at.issuer}"
        cookie = begin_session(self._core, caller, detail=detail, person=somebody)
        response = RedirectResponse(begun.next, 303)
        set_session(request, response, cookie, safely=self._safely)
        response.delete_cookie(self._cookie, path="/", secure=self._safely, httponly=True, samesite="lax")
        if len(arrived.id_token) <= HINT_CHARS_MAX:
            response.set_cookie(
                HINT,
                arrived.id_token,
                max_age=int(SESSION_LASTS.total_seconds()),
                path=END,
                secure=self._safely,
                httponly=True,
                samesite="lax",
            )
        return response

    async def end(self, request: Request) -> Response:
        """Send the browser of somebody who has signed out here to the provider, to sign out there. By a page of ours:
        what answers a form may lead nowhere else."""
        if signed_in(self._core, request) is not None:  # no link of somebody else's signs anybody out
            return RedirectResponse("/", 303)
        try:
            url = await end_at(self._issuer, request.cookies.get(HINT, "")[:HINT_CHARS_MAX])
        except TransientError as trouble:
            log.warning("oidc: the session of somebody who signed out goes on there: %s", trouble)
            url = None
        if url is None:
            response: Response = RedirectResponse("/login", 303)
        else:
            response = await self._pages.render(
                request, None, "end.html", url=url, issuer=self._issuer.at.issuer
            )
        response.delete_cookie(HINT, path=END, secure=self._safely, httponly=True, samesite="lax")
        return response

    def _begun(self, request: Request) -> Begun:
        """The sign-in that this browser began and now comes back from. Raises Unknown."""
        begun = self._opened(request.cookies.get(self._cookie, ""))
        state = request.query_params.get("state", "")
        if begun is None or not secrets.compare_digest(state.encode(), begun.pending.state.encode()):
            raise Unknown("this browser has begun no such sign-in", ANEW)
        if begun.until <= self._core.clock.now() or state in self._used:
            raise Unknown("this sign-in is over", ANEW)
        return begun

    def _use(self, state: str) -> None:
        self._used[state] = None
        while len(self._used) > USED_MAX:
            self._used.popitem(last=False)

    def _sealed(self, begun: Begun) -> str:
        text = base64.urlsafe_b64encode(msgspec.json.encode(begun)).decode()
        return f"{text}.{self._seal(text)}"

    def _opened(self, cookie: str) -> Begun | None:
        text, _, seal = cookie.partition(".")
        if len(cookie) > COOKIE_CHARS_MAX or not hmac.compare_digest(
            seal.encode(), self._seal(text).encode()
        ):
            return None
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=Begun)

    def _seal(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def own_path(text: str) -> str:
    """A path of ours, else the first page: nobody is led elsewhere from here."""
    ours = text.startswith("/") and not text.startswith(("//", "/\\")) and len(text) <= NEXT_CHARS_MAX
    return text if ours and text.isascii() and text.isprintable() and "\\" not in text else "/"


def routes_of(issuers: Issuers) -> Routes:
    """The routes; none where nobody is to come back from a provider."""
    issuer = issuers.signs_in

    def routes(door: Door) -> Sequence[BaseRoute]:
        if issuer is None or issuer.at.redirect_uri is None:
            return []
        shown = Pages(door)
        own = SignIn(door, shown, issuer, issuer.at.redirect_uri)
        handles = {LEAVE: own.leave, CALLBACK: own.arrive, END: own.end}
        return [Route(path, _told(door, shown, handle)) for path, handle in handles.items()]

    return routes


def _told(door: Door, pages: Pages, handle: Handler) -> Handler:
    """Browsers alone come here: an expected error is a page; who was turned away is remembered."""

    async def routed(request: Request) -> Response:
        try:
            if request.client:
                door.rates.take(f"open {request.client.host}", OF_A_CALLER)
            return await handle(request)
        except UgsError as error:
            if isinstance(error, Unknown | Denied):
                door.denials.remember(request, "", error)
            return await pages.render(request, None, "error.html", status=door.status(error), error=error)

    return routed
