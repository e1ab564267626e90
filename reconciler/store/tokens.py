"""The API's tokens: whose each is, what it is good for, and until when. The token itself is not kept."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from reconciler.model.codec import encode
from reconciler.model.errors import HostError, TransientError
from reconciler.model.rights import RoleGrant
from reconciler.store.audit import Audit
from reconciler.store.values import bounded, text_of, time_of, time_or_none

USED_TO = timedelta(minutes=1)
"""How exactly it is known when a token was used last: a write for each request would cost more than it tells."""
TOKENS_MAX = 1_000


class Token(Struct, frozen=True):
    """One token, without itself. `name`: whose it is, which the audit calls the actor."""

    id: int
    name: str
    grants: tuple[RoleGrant, ...]
    made_at: datetime
    made_by: str
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None


def digest(token: str) -> str:
    """SHA-256 in hex: a token has 256 random bits, so that nothing slower is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


class Tokens(Audit):
    def keep_token(
        self, name: str, token: str, grants: tuple[RoleGrant, ...], *, by: str, expires_at: datetime | None
    ) -> Token:
        """Remember a new token by its digest."""
        with self.transaction():
            [row] = self._all(
                "INSERT INTO tokens (name, hash, grants, made_at, made_by, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?) RETURNING *",
                (
                    bounded(name),
                    digest(token),
                    encode(grants).decode(),
                    self._stamp(),
                    bounded(by),
                    text_of(expires_at) if expires_at else None,
                ),
            )
            made = _token(row)
            self.audit("token-made", actor=by, detail=f"token {made.id} for {name}: {_told(grants)}")
        return made

    def token_of(self, token: str) -> Token | None:
        """Whose the token is, and remember that it was used; None where it is unknown, expired or revoked."""
        row = self._one("SELECT * FROM tokens WHERE hash = ? AND revoked_at IS NULL", (digest(token),))
        if row is None:
            return None
        found, now = _token(row), self._now()
        if found.expires_at is not None and found.expires_at <= now:
            return None
        if found.used_at is None or now - found.used_at >= USED_TO:
            # Who is let in does not hang on whether that can be written down.
            with suppress(HostError, TransientError), self.transaction():
                self._run("UPDATE tokens SET used_at = ? WHERE id = ?", (self._stamp(), found.id))
        return found

    def token_stands(self, number: int) -> bool:
        """Whether a token that was good once still is."""
        row = self._one("SELECT * FROM tokens WHERE id = ? AND revoked_at IS NULL", (number,))
        return row is not None and ((end := _token(row).expires_at) is None or end > self._now())

    def tokens(self) -> list[Token]:
        """All that are not revoked, the oldest first; those that expired among them."""
        return [_token(row) for row in self._all("SELECT * FROM tokens WHERE revoked_at IS NULL ORDER BY id")]

    def revoke_token(self, number: int, *, by: str) -> Token | None:
        """From now on the token is good for nothing. None where there is no such token."""
        with self.transaction():
            row = self._one(
                "UPDATE tokens SET revoked_at = ?, revoked_by = ? WHERE id = ? AND revoked_at IS NULL RETURNING *",
                (self._stamp(), bounded(by), number),
            )
            if row is None:
                return None
            gone = _token(row)
            self.audit("token-revoked", actor=by, detail=f"token {gone.id} of {gone.name}")
        return gone


def _token(row: sqlite3.Row) -> Token:
    return Token(
        id=row["id"],
        name=row["name"],
        grants=msgspec.json.decode(row["grants"], type=tuple[RoleGrant, ...]),
        made_at=time_of(row["made_at"]),
        made_by=row["made_by"],
        expires_at=time_or_none(row["expires_at"]),
        used_at=time_or_none(row["used_at"]),
        revoked_at=time_or_none(row["revoked_at"]),
    )


def _told(grants: tuple[RoleGrant, ...]) -> str:
    return "; ".join(f"{one.role} of {','.join(one.environments)}/{','.join(one.services)}" for one in grants)
