"""Sessions of browsers: whose each is, and until when. The cookie is not kept, nor is what has ended."""

from __future__ import annotations

import sqlite3
from datetime import datetime

import msgspec
from msgspec import Struct

from reconciler.model.codec import encode
from reconciler.model.people import Person
from reconciler.model.rights import RoleGrant
from reconciler.store.audit import Audit
from reconciler.store.tokens import digest
from reconciler.store.values import bounded, text_of, time_of

SESSIONS_MAX = 1_000
"""More end the oldest."""


class Session(Struct, frozen=True):
    """One browser that signed in. `token`: the number of the token with which it ends. `person`: whom a provider
    vouched for; what he may do is what ugs.yaml says now, and `grants` are empty."""

    id: int
    name: str
    grants: tuple[RoleGrant, ...]
    token: int | None
    made_at: datetime
    ends_at: datetime
    person: Person | None = None


class Sessions(Audit):
    def begin_session(
        self,
        name: str,
        cookie: str,
        grants: tuple[RoleGrant, ...],
        *,
        token: int | None,
        ends_at: datetime,
        detail: str = "",
        person: Person | None = None,
    ) -> Session:
        """Remember a new session by its cookie's digest. `detail`: how its owner showed who he is."""
        with self.transaction():
            self._run("DELETE FROM sessions WHERE ends_at <= ?", (self._stamp(),))
            [row] = self._all(
                "INSERT INTO sessions (hash, name, grants, person, token, made_at, ends_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
                (
                    digest(cookie),
                    bounded(name),
                    encode(grants).decode(),
                    encode(person).decode() if person else None,
                    token,
                    self._stamp(),
                    text_of(ends_at),
                ),
            )
            self._run(
                "DELETE FROM sessions WHERE id NOT IN (SELECT id FROM sessions ORDER BY id DESC LIMIT ?)",
                (SESSIONS_MAX,),
            )
            self.audit("signed-in", actor=name, detail=detail)
        return _session(row)

    def session_of(self, cookie: str) -> Session | None:
        """Whose the cookie is; None where its session has ended, or its token has."""
        return self._standing("hash = ?", digest(cookie))

    def session_stands(self, number: int) -> bool:
        """Whether a session that was good once still is."""
        return self._standing("id = ?", number) is not None

    def end_session(self, number: int) -> None:
        """Sign out. Nothing where it has ended already."""
        with self.transaction():
            row = self._one("DELETE FROM sessions WHERE id = ? RETURNING *", (number,))
            if row is not None:
                self.audit("signed-out", actor=row["name"])

    def _standing(self, which: str, value: str | int) -> Session | None:
        row = self._one(
            f"SELECT * FROM sessions WHERE {which} AND ends_at > ? AND (token IS NULL OR token IN"  # noqa: S608  # ours
            " (SELECT id FROM tokens WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)))",
            (value, self._stamp(), self._stamp()),
        )
        return _session(row) if row else None


def _session(row: sqlite3.Row) -> Session:
    return Session(
        id=row["id"],
        name=row["name"],
        grants=msgspec.json.decode(row["grants"], type=tuple[RoleGrant, ...]),
        token=row["token"],
        made_at=time_of(row["made_at"]),
        ends_at=time_of(row["ends_at"]),
        person=msgspec.json.decode(row["person"], type=Person) if row["person"] else None,
    )
