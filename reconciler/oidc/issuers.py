"""All providers that are known, and which of them a token is of."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from reconciler.model.people import Person
from reconciler.oidc.issuer import Issuer
from reconciler.oidc.tokens import Invalid, issuer_of


class Issuers:
    """`signs_in`: the one at which people sign in."""

    def __init__(self, signs_in: Issuer | None = None, others: Iterable[Issuer] = ()) -> None:
        self.signs_in = signs_in
        self._by_name = {one.at.issuer: one for one in (*([signs_in] if signs_in else []), *others)}

    def __len__(self) -> int:
        return len(self._by_name)

    async def person(self, token: str) -> tuple[Person, datetime]:
        """Whom a token vouches for, and until when. Raises Invalid, Nameless; TransientError."""
        found = self._by_name.get(issuer_of(token))
        if found is None:
            raise Invalid(
                "this token is not of a provider that is known here", "get one of those in ugs.yaml"
            )
        return await found.person(token)
