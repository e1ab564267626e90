"""How long a forge asks to wait. Its own clock is taken from its `Date`: ours may differ."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX_S = 3600.0
RETRY_AFTER_DEFAULT_S = 60.0
RETRY_AFTER_MIN_S = 1.0
REMAINING = ("x-ratelimit-remaining", "ratelimit-remaining")
RESET = ("x-ratelimit-reset", "ratelimit-reset")
"""Seconds since 1970: GitHub's and Bitbucket's name of it, and GitLab's."""


def wait_s(headers: Mapping[str, str]) -> float:
    """How many seconds are asked for: by `Retry-After` as seconds or as a date, else until the limit is reset.

    `headers`: by names in lower case, or of any case where the mapping looks them up so.
    """
    after = headers.get("retry-after", "").strip()
    if after.isdigit():
        return _bounded(float(after[:12]))
    there = _seconds(headers.get("date", ""))
    until = _seconds(after) if after else None
    reset = next((headers[name] for name in RESET if headers.get(name, "").isdigit()), "")
    if until is None and exhausted(headers) and reset:
        until = float(reset[:12])
    if until is not None and there is not None:
        return _bounded(until - there)
    return RETRY_AFTER_DEFAULT_S


def exhausted(headers: Mapping[str, str]) -> bool:
    """Whether the forge says that nothing is left of what we may ask."""
    return any(headers.get(name) == "0" for name in REMAINING)


def _bounded(wait: float) -> float:
    return min(max(wait, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S)


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
