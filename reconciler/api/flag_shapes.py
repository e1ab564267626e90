"""The shapes of what is answered about flags, as docs/cli.md lists them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from reconciler.api.shapes import GateShape


class FlagSplitShape(Struct, frozen=True):
    value: Any
    percent: float


class FlagRuleShape(Struct, frozen=True):
    """`when`: by attribute, what it must be. `by`: the attribute whose equals get the same."""

    when: dict[str, Any]
    split: list[FlagSplitShape]
    by: str


class SaidShape(Struct, frozen=True):
    """`value`: for all to whom no rule gives another one."""

    value: Any
    rules: list[FlagRuleShape]


class FlagShape(Struct, frozen=True):
    environment: str
    flag: str
    services: list[str]
    description: str
    live: bool
    default: Any
    value: Any
    rules: list[FlagRuleShape]
    revision: str | None
    author: str | None
    since: datetime | None
    pending: SaidShape | None
    gates: list[GateShape]
    needed_by: list[str]


class FlagsShape(Struct, frozen=True):
    flags: list[FlagShape]


class FlagRowShape(Struct, frozen=True):
    environment: str
    flag: str
    revision: str
    author: str | None
    since: datetime
    live: bool | None
    standing: SaidShape | None


class FlagHistoryShape(Struct, frozen=True):
    history: list[FlagRowShape]


class EvaluatedShape(Struct, frozen=True):
    environment: str
    flag: str
    value: Any
    variant: str | None
    reason: str
    error_code: str | None
    error_details: str | None


class FlippedShape(Struct, frozen=True):
    """The commit that makes it so; null where it stands so already."""

    commit: str | None
