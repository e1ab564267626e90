"""Small texts that several daemons share: each is moved by compare-and-swap, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from reconciler.model.errors import UgsError

ABSENT = ""
"""The value of what does not exist."""


class Move(Struct, frozen=True):
    """One compare-and-swap: the value that must still stand there, and what to put there: a title, and the text."""

    expected: str
    subject: str
    body: str


class Late(UgsError):
    """It had not the expected value any more: look again."""


class Refused(UgsError):
    """Whoever keeps it will not have it: a person must mend that."""


class Register(Protocol):
    """Where the texts are kept. Blocking; names have parts, such as `lease/production`."""

    def read(self, *beginnings: str) -> dict[str, tuple[str, str]]:
        """By name, the value and the text of all that begin so; by default of all.

        Raises TransientError, or HostError when we are refused.
        """

    def swap(self, moves: Mapping[str, Move], *, at: datetime) -> Mapping[str, str | Late | Refused]:
        """Each by itself: by name the new value, or why the old one still stands. After a TransientError nobody
        knows. Raises Refused where none may be moved."""

    def where(self, name: str) -> str:
        """Where a person finds it."""

    def allow(self, name: str) -> str:
        """What a person must allow for it to be moved."""
