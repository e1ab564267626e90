"""What the store hands out: one frozen value per kind of row. Times are aware and in UTC."""

from __future__ import annotations

import re
from datetime import datetime

from msgspec import Struct

from reconciler.model.observation import HealthState
from reconciler.model.standing import Standing
from reconciler.model.target import Target

HEAD = re.compile(r"[1-9][0-9]{0,17} [0-9a-f]{64}")


class Note(Struct, frozen=True):
    """One line of the deployment history in Git: `line` is JSON text, for the commit `revision`."""

    revision: str
    operation: str
    line: str


class Advance(Struct, frozen=True):
    """What one fetch brought into force: every commit that `tip` contains and `before` does not."""

    before: str
    tip: str


class Step(Struct, frozen=True):
    """One journaled step. `ended_at` is None while it runs, or when a crash cut it short."""

    operation: str
    step: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str
    detail: str


class Quarantine(Struct, frozen=True):
    """A target that failed in an environment, and is not tried again there until released."""

    operation: str
    environment: str
    service: str
    target: Target
    restored: Target | None
    reason: str
    quarantined_at: datetime
    revert_commit: str | None


class FlagRow(Struct, frozen=True):
    """A flag as it came in force in an environment; `standing` is None where nothing needed it any more.

    `revision`: the commit that made it so, `author` who wrote it, empty where it is only the first that is known.
    """

    environment: str
    flag: str
    revision: str
    author: str
    since: datetime
    standing: Standing | None


class OutboxRow(Struct, frozen=True):
    """One thing to deliver. Rows of one `key` leave in order; an empty key stands alone."""

    id: int
    channel: str
    key: str
    payload: str
    created_at: datetime
    attempts: int
    next_at: datetime
    error: str
    digest: bool = False
    """It waits to be told together with others."""


class Transition(Struct, frozen=True):
    """Since when a service's health was in a state, and what the probes said of it."""

    state: HealthState
    since: datetime
    detail: str


class AuditRow(Struct, frozen=True):
    """One line of the audit; `hash` covers every other field, and so the row before it."""

    id: int
    at: datetime
    event: str
    environment: str
    service: str
    operation: str
    actor: str
    detail: str
    previous_hash: str
    hash: str


class AuditBreak(Struct, frozen=True):
    """The first place where the audit is not what was written."""

    id: int
    reason: str


class Head(Struct, frozen=True):
    """The newest row of the audit: how far a database has come. Another one that lacks it is older, or another."""

    row: int
    hash: str

    def __str__(self) -> str:
        return f"{self.row} {self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head | None:
        """What `str()` writes; None for anything else."""
        row, _, sealed = text.strip().partition(" ")
        return cls(int(row), sealed) if HEAD.fullmatch(text.strip()) else None
