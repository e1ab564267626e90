"""The routes on which tokens are made, listed and revoked. A token is in one answer only: that to its making."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from reconciler.api.endpoint import Endpoint, Nothing
from reconciler.engine.daemon import Daemon
from reconciler.engine.people import Conflict
from reconciler.engine.permits import end_of
from reconciler.model.codec import builtins
from reconciler.model.rights import EVERYTHING, GRANTS_MAX, Caller, Place, RoleGrant, beyond
from reconciler.store import Token
from reconciler.store.tokens import TOKENS_MAX

Json = dict[str, Any]
PREFIX = "ugs_"
"""By which scanners for secrets find a token that was left somewhere."""
NUMBER_MAX = 2**53


class WantedToken(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\s\x00-\x1f]+$")]
    grants: Annotated[list[RoleGrant], Meta(min_length=1, max_length=GRANTS_MAX)]
    until: str | None = None
    for_: str | None = field(default=None, name="for")


class NumberedToken(Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]


class TokenShape(Struct, frozen=True):
    id: int
    name: str
    grants: list[RoleGrant]
    made_at: datetime
    made_by: str
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None
    expired: bool


class NewTokenShape(TokenShape, frozen=True):
    """`token` is shown here, and never again."""

    token: str


class TokensShape(Struct, frozen=True):
    tokens: list[TokenShape]


def token_json(token: Token, now: datetime) -> Json:
    expired = token.expires_at is not None and token.expires_at <= now
    return builtins(token) | {"expired": expired}  # type: ignore[no-any-return]


async def _list(daemon: Daemon, _asked: Nothing, _caller: Caller) -> object:
    now = daemon.core.clock.now()
    return {"tokens": [token_json(one, now) for one in daemon.core.store.tokens()]}


async def _make(daemon: Daemon, wanted: WantedToken, caller: Caller) -> object:
    core = daemon.core
    if more := beyond(wanted.grants, caller):
        raise Conflict(
            f"{caller.name} may not give what he has not: {more[0].role} of {', '.join(more[0].environments)}",
            "ask somebody who has it",
        )
    if len(core.store.tokens()) >= TOKENS_MAX:
        raise Conflict(f"there are {TOKENS_MAX} tokens already", "revoke some: `ugs token revoke ID`")
    token = PREFIX + secrets.token_urlsafe(32)
    end = end_of(core, wanted.until, wanted.for_)
    made = core.store.keep_token(wanted.name, token, tuple(wanted.grants), by=caller.name, expires_at=end)
    return token_json(made, core.clock.now()) | {"token": token}


async def _revoke(daemon: Daemon, wanted: NumberedToken, caller: Caller) -> object:
    gone = daemon.core.store.revoke_token(wanted.id, by=caller.name)
    if gone is None:
        raise Conflict(f"there is no token {wanted.id}", "see `ugs token list`")
    return token_json(gone, daemon.core.clock.now())


def _everything(_daemon: Daemon, _asked: object) -> Place:
    return EVERYTHING


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "GET",
        "/tokens",
        "The tokens that are not revoked.",
        "administer",
        Nothing,
        _list,
        answers=TokensShape,
        place=_everything,
    ),
    Endpoint(
        "POST",
        "/tokens",
        "Make a token; it is shown this once.",
        "administer",
        WantedToken,
        _make,
        answers=NewTokenShape,
        secret=True,
        place=_everything,
    ),
    Endpoint(
        "POST",
        "/tokens/revoke",
        "End a token.",
        "administer",
        NumberedToken,
        _revoke,
        answers=TokenShape,
        place=_everything,
    ),
)
