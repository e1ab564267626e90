"""Who asks: over the socket the kernel says it, over the network a token does."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from starlette.requests import Request

from reconciler.engine.core import Core
from reconciler.model.errors import UgsError
from reconciler.model.rights import Caller, RoleGrant

Doorkeeper = Callable[[Request], Awaitable[Caller]]
"""Raises Unknown where nobody is to be let in."""

ACTOR_HEADER = "x-ugs-actor"
ACTOR_CHARS_MAX = 100
ROOT = 0
TOKEN_CHARS_MAX = 200
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
        found = core.store.token_of(token.strip()) if len(token) <= TOKEN_CHARS_MAX else None
        if found is None:
            raise Unknown(
                "this token is unknown, expired or revoked", "have another made by `ugs token create`"
            )
        return Caller(found.name, found.grants, found.id, until=found.expires_at)

    return doorkeeper
