"""What every page has: who looks at it, its frame, its headers, and what becomes of what goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from reconciler.api.door import Door
from reconciler.api.entry import Denied, Missing
from reconciler.api.identity import COOKIE, Unknown
from reconciler.api.web.assets import Static
from reconciler.api.web.moment import lasting, moment, seconds
from reconciler.engine.branches import Branches
from reconciler.model.errors import UgsError
from reconciler.model.rights import Caller, Place, Right, may

TEMPLATES = Path(__file__).parent / "templates"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
OURS = re.compile(r"(?!.*(\.\.|//))/(ui/[\w./?=&%+:@-]*)?(\?[\w./=&%+:@-]*)?")
"""An address of a page here, to which a browser may be sent back."""

Show = Callable[["Pages", Request, Caller], Awaitable[Response]]


class Pages:
    """Makes routes of functions that show something to somebody."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.daemon = door.daemon
        self.fleet = door.daemon.fleet
        self.core = door.daemon.core
        self.static = Static()
        self.branches = Branches(self.fleet)
        self.reading: set[asyncio.Task[list[str]]] = set()
        """Logs that engines are being asked for, also those that nobody waits for any more."""
        self._jinja = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.globals.update(static=self.static.address, lasting=lasting, seconds=seconds)
        self._jinja.filters["segment"] = partial(quote, safe="")

    def page(self, path: str, show: Show) -> Route:
        """A page for whoever signed in; everyone else is asked to."""

        async def handle(request: Request) -> Response:
            return await show(self, request, await self.door.known(request))

        return Route(path, self.guarded(handle), methods=["GET"])

    def guarded(
        self, handle: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """An expected error becomes a page with what to do; who was turned away is remembered."""

        async def routed(request: Request) -> Response:
            try:
                return await handle(request)
            except Unknown:
                back = f"{request.url.path}?{request.url.query}".rstrip("?")
                ours = request.method == "GET" and back != "/"
                return RedirectResponse(f"/login?next={quote(back)}" if ours else "/login", 303)
            except UgsError as error:
                caller = getattr(request.state, "caller", None)
                if isinstance(error, Denied | Missing):
                    self.door.denials.remember(request, caller.name if caller else "", error)
                status = self.door.status(error)
                return await self.render(request, caller, "error.html", status=status, error=error)

        return routed

    async def render(
        self, request: Request, caller: Caller | None, template: str, *, status: int = 200, **values: Any
    ) -> Response:
        """A page of that template. Rendered in a thread: a thousand services take a while."""
        now = self.core.clock.now()
        known = {
            "caller": caller,
            "csrf": csrf_of(request.cookies.get(COOKIE, "")),
            "here": f"{request.url.path}?{request.url.query}".rstrip("?"),
            "moment": partial(moment, now=now),
            "now": now,
            "status": status,
            "said": SAID.get(request.query_params.get("said", "")),
        }
        text = await asyncio.to_thread(self._jinja.get_template(template).render, known | values)
        return Response(text, status, HEADERS, "text/html; charset=utf-8")

    def zone(self, environment: str) -> str:
        """In which to tell instants of an environment."""
        wanted = self.core.desired.get(environment)
        return (wanted.environment.timezone if wanted else None) or "UTC"


SAID = {
    "approved": "Approved. It starts as soon as nothing else holds it.",
    "held": "Held. Nothing new starts here until it is released.",
    "released": "The hold is released.",
    "rollback": "It is being taken back: what ran before is restored first, and the pin reverted then.",
    "retry": "The pin is committed again: one more attempt is allowed.",
    "quarantine": "Released: one more attempt is allowed.",
    "flag": "It stands so in Git. It comes in force as soon as the environment's gates allow.",
    "started": "It starts now.",
    "confirmed": "The override is confirmed.",
    "withdrawn": "The approval is withdrawn.",
}
"""What came of a form, by the word in the address that leads back from it."""


def csrf_of(cookie: str) -> str:
    """What every form of a session says, and no other site knows; the cookie cannot be found from it."""
    return hashlib.sha256(f"ugs form {cookie}".encode()).hexdigest() if cookie else ""


def ours(address: str) -> str:
    """The address where it is one of a page here; else that of the first page."""
    return address if OURS.fullmatch(address) else "/"


def allowed(caller: Caller, right: Right, environment: str, service: str | None = None) -> bool:
    return may(caller, right, Place(environment, service))
