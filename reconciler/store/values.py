"""Values as columns hold them: instants as text that sorts as time does, models as JSON, words at a bounded length."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from reconciler.model import codec
from reconciler.model.probed import hour_began

TEXT_CHARS_MAX = 4_000
DECODED_MAX = 2_000
INSTANTS_MAX = 1_000


@lru_cache(maxsize=INSTANTS_MAX)
def text_of(at: datetime) -> str:
    """RFC 3339 in UTC at a fixed width, so that text sorts as time does."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


@lru_cache(maxsize=INSTANTS_MAX)
def hour_of(at: datetime) -> str:
    """The beginning of the hour, as text."""
    return text_of(hour_began(at.astimezone(UTC)))


@lru_cache(maxsize=INSTANTS_MAX)
def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def time_or_none(text: str | None) -> datetime | None:
    return time_of(text) if text else None


def bounded(text: str) -> str:
    """What other programs said, at a length and in an encoding that always fit."""
    return text[:TEXT_CHARS_MAX].encode("utf-8", "replace").decode()


@lru_cache(maxsize=DECODED_MAX)
def decoded(text: str, kind: Any) -> Any:
    """Every pass reads the same rows again; values are never changed, so that one serves all who ask."""
    return codec.decode(text, kind)
