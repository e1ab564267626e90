"""Safe mode: the database is gone, damaged or older than it was, so that Git's own account of the past counts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from msgspec import Struct

from reconciler.model.data import State
from reconciler.model.succession import Place
from reconciler.model.target import Target


class Recovery(Struct, frozen=True):
    """Why an environment is in safe mode, and since when."""

    reason: str
    since: datetime
    base: str | None = None
    """The tip whose account was read: a pin that a later commit moved may start. None: not read yet."""


class Commit(Struct, frozen=True):
    """A commit of the tracked branch, as far as its trailers tell of the past."""

    sha: str
    at: datetime
    trailers: tuple[tuple[str, str], ...]
    parents: tuple[str, ...] = ()


class Failed(Struct, frozen=True):
    """A target that Git says failed, and that nobody has released."""

    operation: str
    service: str
    target: Target
    restored: Target | None
    reason: str
    at: datetime
    revision: str
    """The commit that pinned it."""
    revert_commit: str | None = None
    restoring: bool = False
    """The last that was said: it was being taken back."""
    number: int | None = None
    """Which of all that the notes say of its environment this is, in the order in which it happened; None: a revert
    alone tells of it."""


class Proven(Struct, frozen=True):
    """What Git says was the last of a service to succeed."""

    target: Target
    revision: str
    place: Place
    operation: str = ""
    degraded: bool = False
    """It was so when that was last said."""
    since: datetime | None = None
    """Since when it is degraded, or healthy again; None where nothing was said of it since it succeeded."""
    number: int = 0
    """As that of what failed."""

    @property
    def at(self) -> datetime:
        """By the clock of who wrote it."""
        return self.place.at


class Left(Struct, frozen=True):
    """In what state an operation left a migration of its service's data, as far as Git says; `unknown` where the
    operation was not over. `version`: of what it was to bring."""

    operation: str
    version: str
    state: State
    proven: bool = False
    """Whether a version proved healthy since."""


class Account(Struct, frozen=True):
    """What Git tells of one environment's past."""

    failed: tuple[Failed, ...] = ()
    fallen: tuple[Failed, ...] = ()
    """All that failed and did not prove healthy since, be it that it may be tried again."""
    proven: Mapping[str, Proven] = {}
    ended: Mapping[str, str] = {}
    """By operation: how it last stood."""
    removed: Mapping[str, Place] = {}
    """By service that was stopped on purpose, and did not succeed since: when."""
    places: Mapping[tuple[str, Target], Place] = {}
    """By service and target: when it last succeeded, be it that something else came after."""
    data: Mapping[str, Mapping[str, Left]] = {}
    """By service, and the migration's id."""
    held: Mapping[str, tuple[str, str]] = {}
    """By service of which nothing is to be started, for its data's sake: by which operation, and why."""
    reverts: Mapping[str, str] = {}
    """By operation: the commit that puts its pin back."""
    ran: Collection[tuple[str, Target]] = ()
    """By service: what ever proved healthy, or was in its place before there was anybody to say so."""
