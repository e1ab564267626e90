"""What a provider says of itself (OpenID Connect Discovery), and its keys: fetched when needed, kept for a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from reconciler.clock import Clock
from reconciler.model.errors import TransientError
from reconciler.model.people import Person, Registration, person_of
from reconciler.oidc import tokens
from reconciler.oidc.documents import SEE_TO_IT, get, safe
from reconciler.oidc.tokens import SAFE, Claims, Invalid, Jwks

log = logging.getLogger("ugs")
FRESH_S = 3600.0
KEPT_S = 24 * 3600.0
"""Where the provider is not to be reached, what it said before counts for so long."""
AGAIN_S = 10.0
"""How long after a fetch that failed the next is made."""
ROTATED_S = 60.0
"""How long after a fetch a key that nobody knows makes another: anybody can name one."""
AT = "/.well-known/openid-configuration"


class Document(Struct, frozen=True):
    """The part of the discovery document that we act upon."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Known(Struct, frozen=True):
    document: Document
    keys: Any
    """A KeySet of joserfc's, which is imported only when it is needed."""
    algorithms: frozenset[str]

    def has(self, kid: str | None) -> bool:
        return kid is None or any(key.kid == kid for key in self.keys)


class Issuer:
    """One provider, to which we are registered as `at` says. `secret`: of the client, read at each use."""

    def __init__(self, at: Registration, clock: Clock, secret: Callable[[], str] | None = None) -> None:
        self.at, self.secret = at, secret
        self.clock = clock
        self._known: Known | None = None
        self._fetched_s = self._tried_s = float("-inf")
        self._fetching = asyncio.Lock()
        self._renewing: asyncio.Task[None] | None = None

    async def person(self, token: str) -> tuple[Person, datetime]:
        """Whom a bearer's token vouches for, and until when. Raises Invalid, Nameless; TransientError where the
        provider's keys are not to be had."""
        claims = await self.claims(token, self.at.audience)
        return person_of(claims, self.at), _until(claims)

    async def claims(self, token: str, audience: str) -> Claims:
        """What the provider says in a token for this audience. Raises Invalid and TransientError."""
        head = tokens.head_of(token)
        if head.alg not in SAFE or tokens.issuer_of(token) != self.at.issuer:
            raise Invalid("this token is not of the provider that is known here", "get one of that")
        known = await self.known(head.kid)
        return tokens.verified(
            token,
            known.keys,
            known.algorithms,
            issuer=self.at.issuer,
            audience=audience,
            now=self.clock.now(),
        )

    async def known(self, kid: str | None = None) -> Known:
        """What the provider says of itself, with the key of this number where it has one. Raises TransientError."""
        known, age_s = self._known, self.clock.monotonic() - self._fetched_s
        if known is not None and age_s < KEPT_S and (known.has(kid) or age_s < ROTATED_S):
            if age_s >= FRESH_S and not self._fetching.locked():
                self._renewing = asyncio.create_task(self._renew())  # nobody waits for it
            return known
        await self._renew()
        if self._known is None:
            raise TransientError(f"{self.at.issuer} cannot be reached", f"try again in a moment; {SEE_TO_IT}")
        return self._known

    async def _renew(self) -> None:
        """Fetch, unless somebody else just has."""
        before_s = self._fetched_s
        async with self._fetching:
            if self._fetched_s == before_s:
                await self._fetch()

    async def _fetch(self) -> None:
        """Fetch anew. Where that fails, what was known goes on to count for a while."""
        now_s = self.clock.monotonic()
        if now_s - self._tried_s < AGAIN_S:
            return
        self._tried_s = now_s
        try:
            self._known = await self._fetched()
        except TransientError as error:
            log.warning("oidc: %s", error)
            if now_s - self._fetched_s > KEPT_S:
                self._known = None
        else:
            self._fetched_s, self._tried_s = now_s, float("-inf")

    async def _fetched(self) -> Known:
        issuer = self.at.issuer
        document = await get(issuer.rstrip("/") + AT, Document)
        if document.issuer != issuer:
            message = f"{issuer} says that it is {document.issuer[:200]}"
            raise TransientError(message, "write it so as `oidc.issuer` in ugs.yaml, if it is right")
        for url in (document.jwks_uri, document.authorization_endpoint, document.token_endpoint):
            if url and not safe(url):
                raise TransientError(f"{issuer} names {url[:200]}, which is no https URL", SEE_TO_IT)
        algorithms = frozenset(document.id_token_signing_alg_values_supported).intersection(SAFE)
        # In a thread: the library takes a tenth of a second to be imported.
        keys = await asyncio.to_thread(tokens.key_set, await get(document.jwks_uri, Jwks))
        if keys is None or not algorithms:
            raise TransientError(f"{issuer} has no key or algorithm that is safe", SEE_TO_IT)
        return Known(document, keys, algorithms)


def _until(claims: Claims) -> datetime:
    return datetime.fromtimestamp(min(int(claims["exp"]), 253_402_300_799), UTC)  # the year 9999
