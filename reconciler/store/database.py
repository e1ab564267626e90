"""The connection as the tables use it: transactions that nest, and values in and out."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from reconciler.model.errors import HostError
from reconciler.store import connection as connecting
from reconciler.store import schema
from reconciler.store.connection import Damaged
from reconciler.store.memory import NOTHING, Memory, Question, Subject, Values, is_question, question
from reconciler.store.values import decoded, text_of
from reconciler.store.witness import Witness

T = TypeVar("T")
LOOK_AGAIN_S = 0.005
"""Nobody else writes here. Who does all the same is noticed by the next transaction, or so much later."""


def _rows(rows: list[sqlite3.Row]) -> list[sqlite3.Row]:
    return rows


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
        self.mourners: list[Callable[[], None]] = []
        """Called once, when the next call will raise Damaged, likewise."""
        self._afterwards: list[Callable[[], None]] = []
        self._witness = witness
        self._appended = False
        self._now = now
        self._depth = 0
        self.look_again_s, self._looked_at_s, self._seen_version = LOOK_AGAIN_S, 0.0, 0
        self._damaged: Damaged | None = None
        self._memory = None if read_only else Memory()
        """None where others write: what was read is read again."""
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
        nested, before = self._depth > 0, len(self._afterwards)
        # A plain BEGIN would read first and could then be refused the write at once, whatever the timeout.
        self._execute("SAVEPOINT nested" if nested else "BEGIN IMMEDIATE")
        try:
            self._looked_at_s = 0.0
            self._catch_up()  # to what others wrote until the lock was ours; from now on they cannot
            self._depth += 1
            try:
                yield
                self._execute("RELEASE nested" if nested else "COMMIT")
            finally:
                self._depth -= 1
            if not nested:
                self._committed()
        except BaseException:
            del self._afterwards[before:]
            self._forget_all()
            # A full disk has already rolled everything back.
            if self._connection.in_transaction:
                self._execute("ROLLBACK TO nested" if nested else "ROLLBACK")
                if nested:
                    self._execute("RELEASE nested")
            raise
        if not nested:
            calls, self._afterwards = self._afterwards, []
            for call in calls:
                call()

    def afterwards(self, call: Callable[[], None]) -> None:
        """Call this once what was written so far is durable: now, where no transaction is open; not at all where that
        is taken back."""
        if self._depth:
            self._afterwards.append(call)
        else:
            call()

    def _together(self) -> AbstractContextManager[None]:
        """All or nothing: part of the caller's transaction where there is one, which nobody goes on with after an
        error; else one of its own. A savepoint less than `transaction`."""
        return nullcontext() if self._depth else self.transaction()

    @property
    def changes(self) -> int:
        """Grows with every row that is written here: while it stays the same, so does what is remembered."""
        return self._connection.total_changes

    @property
    def damage(self) -> Damaged | None:
        """What every call raises from now on; None while the database can be trusted."""
        return self._damaged

    def _committed(self) -> None:
        """What was written is durable."""
        self.refused = ""
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
            self._give_up(meaning)
        raise meaning from error

    def _give_up(self, damage: Damaged) -> None:
        """From now on every call raises this."""
        if self._damaged is None:
            self._damaged = damage
            for heard in self.mourners:
                heard()

    def _write(self, sql: str, values: Values = (), *, of: Sequence[Subject] = ()) -> sqlite3.Cursor:
        """One statement without RETURNING: a transaction of its own, or part of the caller's."""
        cursor = self._run(sql, values, of=of)
        if not self._depth:
            self._committed()
        return cursor

    def _run(self, sql: str, values: Values = (), *, of: Sequence[Subject] = ()) -> sqlite3.Cursor:
        """Run what may write: what was read of its tables is forgotten first.

        `of`: all that the written rows are of; nothing that was read of others is forgotten then.
        """
        if self._memory is None:
            return self._execute(sql, values)
        self._memory.catch_up(self._connection.total_changes)
        self._memory.forget(sql, of)
        cursor = self._execute(sql, values)
        self._memory.wrote(self._connection.total_changes)
        return cursor

    def _returned(self, sql: str, values: Values) -> list[sqlite3.Row]:
        """The rows that a statement with RETURNING wrote. It has changed them only when the last one is fetched."""
        rows = self._run(sql, values).fetchall()
        if self._memory is not None:
            self._memory.wrote(self._connection.total_changes)
        return rows

    def _execute(self, sql: str, values: Values = ()) -> sqlite3.Cursor:
        if self._depth and not self._connection.in_transaction:
            raise RuntimeError("an earlier error ended this transaction; nothing more may be written in it")
        try:
            return self._usable().execute(sql, values)
        except sqlite3.Error as error:
            self._forget_all()
            self._explain(error)

    def _all(self, sql: str, values: Values = (), *, of: Subject = None) -> list[sqlite3.Row]:
        """All rows. They may be remembered, so that nobody changes the list."""
        return self._known(sql, values, _rows, of=of)

    def _known(
        self, sql: str, values: Values, read: Callable[[list[sqlite3.Row]], T], *, of: Subject = None
    ) -> T:
        """What `read` makes of the rows; remembered, so that nobody changes it. `of`: what all the rows are of."""
        memory = self._memory
        if memory is None:
            return read(self._fetch(sql, values))
        memory.catch_up(self._usable().total_changes, None if self._depth else self._version())
        asked = question(sql, values, read, of)
        answer = memory.answer(asked)
        if answer is NOTHING:
            rows = self._fetch(sql, values)
            answer = read(rows)
            if is_question(sql):
                memory.keep(asked, answer, len(rows))
        known: T = answer
        return known

    def _known_each(self, asked: Mapping[str, Question], sql: str, values: Values) -> dict[str, Any]:
        """The answers to many questions: of each what is remembered, else what its rows of `sql` say, which answers
        all of them. The first column of those names the question that a row belongs to."""
        if self._memory is not None:
            self._usable()
            self._catch_up()
            known = {name: self._memory.answer(one) for name, one in asked.items()}
        else:
            known = dict.fromkeys(asked, NOTHING)
        lacking = [name for name, answer in known.items() if answer is NOTHING]
        if not lacking:
            return known
        rows = dict[str, list[sqlite3.Row]]()
        for row in self._fetch(sql, values):
            rows.setdefault(row[0], []).append(row)
        for name in lacking:
            its = rows.get(name, [])
            known[name] = asked[name].read(its)
            if self._memory is not None:
                self._memory.keep(asked[name], known[name], len(its))
        return known

    def _fetch(self, sql: str, values: Values) -> list[sqlite3.Row]:
        if not sql.startswith("SELECT "):
            return self._returned(sql, values)
        try:
            return self._usable().execute(sql, values).fetchall()
        except sqlite3.Error as error:
            self._forget_all()
            self._explain(error)

    def _catch_up(self) -> None:
        """Forget what someone else has changed meanwhile: another process, or whoever uses this connection itself."""
        if self._memory is not None:
            version = None if self._depth else self._version()
            self._memory.catch_up(self._connection.total_changes, version)

    def _version(self) -> int:
        """Another number than before when another connection has committed since, or until a moment ago."""
        now_s = time.monotonic()
        if now_s - self._looked_at_s >= self.look_again_s:
            self._seen_version = int(self._execute("PRAGMA data_version").fetchone()[0])
            self._looked_at_s = now_s
        return self._seen_version

    def _forget_all(self) -> None:
        if self._memory is not None:
            self._memory.forget_all()

    def _each(self, sql: str) -> Iterator[sqlite3.Row]:
        """Row by row, for what may not fit in memory."""
        try:
            yield from self._usable().execute(sql)
        except sqlite3.Error as error:
            self._explain(error)

    def _one(self, sql: str, values: Values = (), *, of: Subject = None) -> sqlite3.Row | None:
        return next(iter(self._all(sql, values, of=of)), None)

    def _stamp(self) -> str:
        return text_of(self._now())

    def _value(self, text: str, kind: type[T]) -> T:
        """A model value that was stored as JSON. Raises HostError where it is not one."""
        try:
            value: T = decoded(text, kind)  # type: ignore[arg-type]  # a class is hashable
        except (msgspec.MsgspecError, ValueError) as error:
            damage = connecting.damaged(self.path, f"a stored {kind.__name__} cannot be read: {error}")
            self._give_up(damage)
            raise damage from error
        return value
