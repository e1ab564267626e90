"""Who asks: over the socket the kernel says it, over the network a token does, or a browser's session."""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from reconciler.engine.core import Core
from reconciler.model.errors import UgsError
from reconciler.model.rights import Caller, RoleGrant

Doorkeeper = Callable[[Request], Awaitable[Caller]]
"""Raises Unknown where nobody is to be let in."""

ACTOR_HEADER = "x-ugs-actor"
ACTOR_CHARS_MAX = 100
ROOT = 0
TOKEN_CHARS_MAX = 200
COOKIE = "ugs_session"
SESSION_LASTS = timedelta(hours=12)
ADMIN = (RoleGrant("admin"),)


class Unknown(UgsError):
    """Who asks has not shown who he is."""


async def by_socket(request: Request) -> Caller:
    """The daemon's own user, or root: whoever may read its state may do all that it does. They act for people (sudo,
    a shell on the machine), so that the name they give is taken."""
    if request.state.peer_uid not in {ROOT, os.geteuid()}:
        raise Unknown("this socket is its owner's alone", "run this as the daemon's user, or use a token")
    name = request.headers.get(ACTOR_HEADER, "unknown")
    return Caller("".join(c for c in name if c.isprintable())[:ACTOR_CHARS_MAX], ADMIN)


def by_token(core: Core) -> Doorkeeper:
    """Callers with `Authorization: Bearer TOKEN`."""

    async def doorkeeper(request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unknown("this needs a token", "send it as `Authorization: Bearer TOKEN`; see `ugs token`")
        return holder_of(core, token.strip())

    return doorkeeper


def holder_of(core: Core, token: str) -> Caller:
    """Whose a token is. Raises Unknown."""
    found = core.store.token_of(token) if len(token) <= TOKEN_CHARS_MAX else None
    if found is None:
        raise Unknown("this token is unknown, expired or revoked", "have another made by `ugs token create`")
    return Caller(found.name, found.grants, found.id, until=found.expires_at)


def by_token_or_session(core: Core) -> Doorkeeper:
    """The same, and browsers that signed in, as long as they only ask: what they change goes through a form of ours
    (web/actions.py), which shows that no other site made them send it."""
    with_token = by_token(core)

    async def doorkeeper(request: Request) -> Caller:
        asks = "authorization" not in request.headers and request.method in {"GET", "HEAD"}
        if asks and (caller := signed_in(core, request)):
            return caller
        return await with_token(request)

    return doorkeeper


def signed_in(core: Core, request: Request) -> Caller | None:
    """Whose browser asks; None where nobody signed in with it, or no longer."""
    cookie = request.cookies.get(COOKIE, "")
    found = core.store.session_of(cookie) if 0 < len(cookie) <= TOKEN_CHARS_MAX else None
    if found is None:
        return None
    return Caller(found.name, found.grants, found.token, session=found.id, until=found.ends_at)


def begin_session(core: Core, caller: Caller, *, detail: str) -> str:
    """Let a caller's browser in, who has shown who he is by whatever way: the cookie's value. `detail` says the way.

    It ends after SESSION_LASTS, at `caller.until`, and with `caller.token`.
    """
    cookie = secrets.token_urlsafe(32)
    end = core.clock.now() + SESSION_LASTS
    core.store.begin_session(
        caller.name,
        cookie,
        caller.grants,
        token=caller.token,
        ends_at=min(end, caller.until or end),
        detail=detail,
    )
    return cookie


def set_session(request: Request, response: Response, cookie: str) -> None:
    """Give the browser its cookie. Lax: a link in a chat, or an identity provider, leads here signed in."""
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(SESSION_LASTS.total_seconds()),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
