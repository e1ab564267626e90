"""JSON Web Tokens: whether one is what its issuer signed, for us, and in force."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from reconciler.model.errors import UgsError

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

T = TypeVar("T")
Claims = dict[str, Any]
SAFE = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""Signed with a private key: never `none`, nor with a secret, for which a public key could be taken."""
TOKEN_BYTES_MAX = 16 << 10
LEEWAY_S = 60
KEYS_MAX = 100


class Invalid(UgsError):
    """A token that proves nothing."""


class Head(Struct, frozen=True):
    alg: str
    kid: str | None = None


class Issued(Struct, frozen=True):
    iss: str


msgspec.json.Decoder(Head)  # resolved here, while one thread imports
msgspec.json.Decoder(Issued)


def head_of(token: str) -> Head:
    """What a token says of how it is signed, before anything is believed. Raises Invalid."""
    return _part(token, 0, Head)


def issuer_of(token: str) -> str:
    """Whom a token says that it is from. Raises Invalid."""
    return _part(token, 1, Issued).iss


def _part(token: str, number: int, kind: type[T]) -> T:
    if len(token) > TOKEN_BYTES_MAX or token.count(".") != 2:
        raise Invalid("this is no JSON Web Token", "send the whole token, as the provider gave it")
    text = token.split(".")[number]
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:
        raise Invalid("this is no JSON Web Token", "send the whole token, as the provider gave it") from error


class Jwks(Struct, frozen=True):
    keys: list[dict[str, Any]]


def key_set(document: Jwks) -> KeySet | None:
    """The keys with which a provider signs. What is unknown or cannot be read is left out. None: there is no other."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry, KeySet

    keys = []
    for one in document.keys[:KEYS_MAX]:
        if one.get("use", "sig") != "sig" or one.get("kty") == "oct":
            continue
        try:
            keys.append(JWKRegistry.import_key(one))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return KeySet(keys) if keys else None


def verified(
    token: str, keys: KeySet, algorithms: Collection[str], *, issuer: str, audience: str, now: datetime
) -> Claims:
    """The claims of a token that one of the keys signed, from the issuer, for the audience, in force now.

    Raises Invalid."""
    from joserfc import jwt
    from joserfc.errors import JoseError, SecurityWarning
    from joserfc.jws import JWSRegistry

    registry = JWSRegistry(algorithms=sorted(algorithms), strict_check_header=False)
    rules = jwt.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=LEEWAY_S,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
        sub={"essential": True},
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # EdDSA has a newer name, and is as good
            claims: Claims = jwt.decode(token, keys, registry=registry).claims
        rules.validate(claims)
    except (JoseError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise Invalid(f"this token is not valid: {_told(error)}", "sign in anew, or get a new one") from error
    if "events" in claims:  # of a logout, or of something that has happened: nobody is let in by that
        raise Invalid("this token is not valid: it tells of an event", "send an ID token or an access token")
    return claims


def _told(error: Exception) -> str:
    """In a few words; what stood in the token is not repeated."""
    known = getattr(error, "error", "") or type(error).__name__
    claim = getattr(error, "claim", "")
    return f"{known} {claim}".strip()
