"""Who asks: over the socket the kernel says it, over the network a token does, or a browser's session."""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from reconciler.api.entry import Denied
from reconciler.engine.core import Core
from reconciler.model.errors import UgsError
from reconciler.model.people import Nameless, Person, grants_of
from reconciler.model.rights import Caller, RoleGrant
from reconciler.oidc import Invalid, Issuers

Doorkeeper = Callable[[Request], Awaitable[Caller]]
"""Raises Unknown where nobody is to be let in."""

ACTOR_HEADER = "x-ugs-actor"
ACTOR_CHARS_MAX = 100
ROOT = 0
TOKEN_CHARS_MAX = 200
COOKIE = "ugs_session"
SESSION_LASTS = timedelta(hours=12)
ADMIN = (RoleGrant("admin"),)
TOLD_MAX = 20
NOBODY = Issuers()


class Unknown(UgsError):
    """Who asks has not shown who he is."""


async def by_socket(request: Request) -> Caller:
    """The daemon's own user, or root: whoever may read its state may do all that it does. They act for people (sudo,
    a shell on the machine), so that the name they give is taken."""
    if request.state.peer_uid not in {ROOT, os.geteuid()}:
        raise Unknown("this socket is its owner's alone", "run this as the daemon's user, or use a token")
    name = request.headers.get(ACTOR_HEADER, "unknown")
    return Caller("".join(c for c in name if c.isprintable())[:ACTOR_CHARS_MAX], ADMIN)


def by_token(core: Core, issuers: Issuers = NOBODY) -> Doorkeeper:
    """Callers with `Authorization: Bearer TOKEN`: one of ours, or one of a provider's."""

    async def doorkeeper(request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unknown("this needs a token", "send it as `Authorization: Bearer TOKEN`; see `ugs token`")
        if issuers and token.count(".") == 2:
            return await vouched_for(core, issuers, token.strip())
        return holder_of(core, token.strip())

    return doorkeeper


async def vouched_for(core: Core, issuers: Issuers, token: str) -> Caller:
    """Whom a provider's token vouches for. Raises Unknown, Denied; TransientError where its keys cannot be had."""
    try:
        somebody, until = await issuers.person(token)
    except (Invalid, Nameless) as error:
        raise Unknown(error.message, error.remedy) from error
    return Caller(somebody.name, rights_of(core, somebody), until=until)


def rights_of(core: Core, somebody: Person) -> tuple[RoleGrant, ...]:
    """What the people of ugs.yaml may do. Raises Denied where that is nothing."""
    grants = grants_of(core.settings.people, somebody)
    if not grants:
        groups = ", ".join(somebody.groups[:TOLD_MAX]) or "none"
        raise Denied(
            f"{somebody.name} is known to the provider, and has no role here (groups: {groups})",
            "have a rule for him, or for one of his groups, written under `people` in ugs.yaml",
        )
    return grants


def holder_of(core: Core, token: str) -> Caller:
    """Whose a token is. Raises Unknown."""
    found = core.store.token_of(token) if len(token) <= TOKEN_CHARS_MAX else None
    if found is None:
        raise Unknown("this token is unknown, expired or revoked", "have another made by `ugs token create`")
    return Caller(found.name, found.grants, found.id, until=found.expires_at)


def by_token_or_session(core: Core, issuers: Issuers = NOBODY) -> Doorkeeper:
    """The same, and browsers that signed in, as long as they only ask: what they change goes through a form of ours
    (web/actions.py), which shows that no other site made them send it."""
    with_token = by_token(core, issuers)

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
    caller = Caller(found.name, found.grants, found.token, session=found.id, until=found.ends_at)
    if found.person is None:
        return caller
    # Never what he might do when he signed in: ugs.yaml may say otherwise now, or have another provider.
    oidc = core.settings.oidc
    grants = grants_of(core.settings.people, found.person)
    known = oidc is not None and oidc.at.issuer == found.person.issuer
    return replace(caller, grants=grants) if known and grants else None


def begin_session(core: Core, caller: Caller, *, detail: str, person: Person | None = None) -> str:
    """Let a caller's browser in, who has shown who he is by whatever way: the cookie's value. `detail` says the way.
    `person`: whom a provider vouched for; what he may do is then looked up at each request.

    It ends after SESSION_LASTS, at `caller.until`, and with `caller.token`.
    """
    cookie = secrets.token_urlsafe(32)
    end = core.clock.now() + SESSION_LASTS
    core.store.begin_session(
        caller.name,
        cookie,
        () if person else caller.grants,
        token=caller.token,
        ends_at=min(end, caller.until or end),
        detail=detail,
        person=person,
    )
    return cookie


def set_session(request: Request, response: Response, cookie: str, *, safely: bool = False) -> None:
    """Give the browser its cookie. Lax: a link in a chat, or an identity provider, leads here signed in. `safely`: it
    comes by https, whatever a proxy makes of that."""
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(SESSION_LASTS.total_seconds()),
        path="/",
        secure=safely or request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
