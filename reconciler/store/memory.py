"""What was read and has not been written since: asked again, it is answered from here."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from reconciler.store import schema

T = TypeVar("T")
Scalar = str | int | float | None
Values = Sequence[Scalar] | Mapping[str, Scalar]
Subject = Hashable
"""What the rows are of that an answer hangs on, or that a statement writes: an operation, say. None: of anything."""

TABLES = frozenset(
    name for script in schema.MIGRATIONS for name in re.findall(r"^CREATE TABLE (\w+)", script, re.MULTILINE)
)
WORD = re.compile(r"\w+")
QUESTIONS_MAX = 20_000
ROWS_MAX = 30_000
NOTHING = object()


class Question(NamedTuple):
    """`read`: what makes an answer of the rows; two that read alike share it."""

    sql: str
    values: Hashable
    read: Callable[[list[sqlite3.Row]], Any]
    of: Subject


def question(
    sql: str, values: Values, read: Callable[[list[sqlite3.Row]], Any], of: Subject = None
) -> Question:
    known = tuple(values.items()) if isinstance(values, dict) else tuple(values)
    return tuple.__new__(Question, (sql, known, read, of))  # a third of the time: it is made for every look


@lru_cache(maxsize=1_000)
def tables_of(sql: str) -> frozenset[str]:
    """The tables that a statement may touch: every one that it names, in whatever place.

    No trigger of the schema writes, and no foreign key cascades.
    """
    return TABLES.intersection(WORD.findall(sql))


@lru_cache(maxsize=1_000)
def is_question(sql: str) -> bool:
    """Whether the answer hangs on nothing but the values and the tables that it names."""
    return sql.startswith("SELECT ") and bool(tables_of(sql)) and "sqlite_" not in sql


def _by_subject() -> defaultdict[Subject, set[Question]]:
    return defaultdict(set)


class Memory:
    """The answers of one connection, forgotten table by table, and all at once when in doubt."""

    def __init__(self) -> None:
        self._answers: dict[Question, Any] = {}
        self._asked: defaultdict[str, defaultdict[Subject, set[Question]]] = defaultdict(_by_subject)
        """By table, and by what the rows are of: the questions that they answer."""
        self._rows = 0
        self._seen: tuple[int, int] | None = None
        """How far the file had come: changes of this connection, and the version that others leave."""

    def catch_up(self, changes: int, version: int | None = None) -> None:
        """Forget all if the file has come further than it was seen. `version` None: the write lock is ours."""
        seen = self._seen
        if seen is not None and seen[0] == changes and (version is None or version == seen[1]):
            return
        self.forget_all()
        self._seen = changes, version if version is not None else seen[1] if seen else -1

    def wrote(self, changes: int) -> None:
        """A statement of which `forget` was told has changed so much."""
        if self._seen is not None:
            self._seen = changes, self._seen[1]

    def answer(self, asked: Question) -> Any:
        """What was read; NOTHING where it is not known any more."""
        return self._answers.get(asked, NOTHING)

    def keep(self, asked: Question, answer: Any, rows: int) -> None:
        """Remember an answer that was made of so many rows."""
        self._rows += rows + 1
        if len(self._answers) >= QUESTIONS_MAX or self._rows > ROWS_MAX:
            self.forget_all()
            if rows >= ROWS_MAX:
                return
            self._rows = rows + 1
        self._answers[asked] = answer
        for table in tables_of(asked.sql):
            self._asked[table][asked.of].add(asked)

    def forget(self, sql: str, of: Sequence[Subject] = ()) -> None:
        """A statement is about to change what it names; what names nothing known may change everything.

        `of`: everything that its rows are of; where that is said, what is known of others stays known.
        """
        tables = tables_of(sql)
        if not tables:
            self.forget_all()
        for table in tables:
            asked = self._asked.get(table)
            if not asked:
                continue
            for subject in self._gone(asked, of):
                for gone in asked.pop(subject, ()):
                    del self._answers[gone]
                    for other in tables_of(gone.sql):
                        if other != table:
                            self._asked[other][subject].discard(gone)

    @staticmethod
    def _gone(asked: Iterable[Subject], of: Sequence[Subject]) -> Iterable[Subject]:
        return (None, *of) if of else tuple(asked)

    def forget_all(self) -> None:
        self._answers.clear()
        self._asked.clear()
        self._rows = 0
