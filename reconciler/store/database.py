"""The connection as the tables use it: transactions that nest, and values in and out."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from reconciler.model import codec
from reconciler.model.errors import HostError
from reconciler.store import connection as connecting
from reconciler.store import schema
from reconciler.store.connection import Damaged
from reconciler.store.rows import Head
from reconciler.store.witness import Witness

TEXT_CHARS_MAX = 4_000
DECODED_MAX = 2_000

T = TypeVar("T")
Scalar = str | int | None
Values = Sequence[Scalar] | Mapping[str, Scalar]


def text_of(at: datetime) -> str:
    """RFC 3339 in UTC at a fixed width, so that text sorts as time does."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def time_or_none(text: str | None) -> datetime | None:
    return time_of(text) if text else None


def bounded(text: str) -> str:
    """What other programs said, at a length and in an encoding that always fit."""
    return text[:TEXT_CHARS_MAX].encode("utf-8", "replace").decode()


@lru_cache(maxsize=DECODED_MAX)
def _decoded(text: str, kind: Any) -> Any:
    """Every pass reads the same rows again; values are never changed, so that one serves all who ask."""
    return codec.decode(text, kind)


class Database:
    """One connection to one file, for one thread; nothing is asked of it after `Damaged`."""

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], datetime],
        read_only: bool = False,
        witness: Witness | None = None,
    ) -> None:
        """Open and check the file; make it, or bring its schema up to date, unless `read_only`.

        Raises HostError (permission, a newer schema), Corrupt, and TransientError (locked).
        """
        self.path = path
        self.refused = ""
        """Why the last write was refused; empty since one has succeeded again."""
        self.hearers: list[Callable[[], None]] = []
        """Called after each commit, from within the call that made it: they note it, and work later."""
        self._witness = witness
        self._appended = False
        self._now = now
        self._depth = 0
        self._damaged: Damaged | None = None
        self._connection = self._connect(read_only=read_only)
        try:
            self._prepare(read_only=read_only)
        except BaseException:
            self.close()
            raise

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        return connecting.connect(self.path, read_only=read_only)

    def _prepare(self, *, read_only: bool) -> None:
        found = schema.check_version(self._connection, self.path)
        if not read_only:
            connecting.check_integrity(self._connection, self.path)
            connecting.make_durable(self._connection, self.path)
            schema.migrate(self._connection, self.path)
        elif found < len(schema.MIGRATIONS):
            raise HostError(
                f"{self.path}: not yet set up by this version of UGS", "start the daemon: `ugs run`"
            )

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and durable on return; a nested one is all or nothing inside the outer one.

        Never await inside: another task's writes would join in. Raises HostError, TransientError.
        """
        nested = self._depth > 0
        # A plain BEGIN would read first and could then be refused the write at once, whatever the timeout.
        self._run("SAVEPOINT nested" if nested else "BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
            self._run("RELEASE nested" if nested else "COMMIT")
            if not nested:
                self._committed()
        except BaseException:
            # A full disk has already rolled everything back.
            if self._connection.in_transaction:
                self._run("ROLLBACK TO nested" if nested else "ROLLBACK")
                if nested:
                    self._run("RELEASE nested")
            raise
        finally:
            self._depth -= 1

    def head(self) -> Head | None:
        """The newest row of the audit; None when it has none."""
        row = self._one("SELECT id, hash FROM maintenance_logs ORDER BY id DESC LIMIT 1")
        return Head(row["id"], row["hash"]) if row else None

    @property
    def changes(self) -> int:
        """Grows with every row that is written here: while it stays the same, so does what is remembered."""
        return self._connection.total_changes

    def _committed(self) -> None:
        self.refused = ""
        if self._appended and self._witness and (head := self.head()):
            self._appended = False
            self._witness.write(head)
        for heard in self.hearers:
            heard()

    def _usable(self) -> sqlite3.Connection:
        if self._damaged is not None:
            raise type(self._damaged)(self._damaged.message, self._damaged.remedy)
        return self._connection

    def _explain(self, error: sqlite3.Error) -> NoReturn:
        """Raise the error as ours, or as it is where it is a bug."""
        meaning = connecting.explain(self.path, error)
        if meaning is None:
            raise error
        self.refused = str(meaning)
        if isinstance(meaning, Damaged):
            self._damaged = meaning
        raise meaning from error

    def _run(self, sql: str, values: Values = ()) -> sqlite3.Cursor:
        if self._depth and not self._connection.in_transaction:
            raise RuntimeError("an earlier error ended this transaction; nothing more may be written in it")
        try:
            return self._usable().execute(sql, values)
        except sqlite3.Error as error:
            self._explain(error)

    def _all(self, sql: str, values: Values = ()) -> list[sqlite3.Row]:
        try:
            return self._usable().execute(sql, values).fetchall()
        except sqlite3.Error as error:
            self._explain(error)

    def _each(self, sql: str) -> Iterator[sqlite3.Row]:
        """Row by row, for what may not fit in memory."""
        try:
            yield from self._usable().execute(sql)
        except sqlite3.Error as error:
            self._explain(error)

    def _one(self, sql: str, values: Values = ()) -> sqlite3.Row | None:
        rows = self._all(sql, values)
        return rows[0] if rows else None

    def _stamp(self) -> str:
        return text_of(self._now())

    def _value(self, text: str, kind: type[T]) -> T:
        """A model value that was stored as JSON. Raises HostError where it is not one."""
        try:
            value: T = _decoded(text, kind)  # type: ignore[arg-type]  # a class is hashable
        except (msgspec.MsgspecError, ValueError) as error:
            raise connecting.damaged(
                self.path, f"a stored {kind.__name__} cannot be read: {error}"
            ) from error
        return value
