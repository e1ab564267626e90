"""What GitHub says: the answers that are read, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from reconciler.forge.base import Denied, Invalid, Pull, Unavailable, plain, wait_s
from reconciler.model.codec import resolve_types


class Repository(Struct, frozen=True):
    full_name: str
    private: bool = True


class Branch(Struct, frozen=True):
    ref: str
    sha: str


class PullAnswer(Struct, frozen=True):
    number: int
    html_url: str
    state: str
    head: Branch
    base: Branch
    node_id: str = ""
    merged_at: str | None = None


class CommentAnswer(Struct, frozen=True):
    id: int
    body: str | None = None


class Made(Struct, frozen=True):
    """Whatever was made has a number."""

    id: int


class Message(Struct, frozen=True):
    """What is said in place of an answer."""

    message: str = ""
    errors: Any = None


resolve_types(Repository, PullAnswer, CommentAnswer, Made, Message)


def pull_of(found: PullAnswer) -> Pull:
    state: Literal["open", "closed", "merged"] = (
        "merged" if found.merged_at else "closed" if found.state == "closed" else "open"
    )
    return Pull(found.number, found.html_url, state, found.head.ref, found.head.sha, found.base.ref)


def refusal_of(status: int, headers: Mapping[str, str], text: str) -> Unavailable | Denied | Invalid:
    """What an answer other than success means."""
    try:
        said = msgspec.json.decode(text, type=Message)
    except (msgspec.MsgspecError, ValueError):
        said = Message()
    words = plain(said.message)
    if status == 429 or (status == 403 and _limited(headers, words)):
        retry_s = wait_s(headers.get("retry-after"), _reset(headers), _now_there(headers))
        return Unavailable(f"GitHub asks to wait {retry_s:.0f} s", retry_s=retry_s)
    if status >= 500 or not said.message:
        return Unavailable(f"GitHub answered {status}{f': {words}' if words else ''}")
    if status == 401:
        return Denied(f"GitHub does not know the token: {words}", "put a valid one in place of forge.token")
    if 300 <= status < 400:
        return Denied("GitHub: the repository has moved", "set forge.repository to where it is now")
    if status == 403:
        needed = headers.get("x-accepted-github-permissions") or headers.get("x-accepted-oauth-scopes")
        remedy = f"give the token {plain(needed)}" if needed else "give the token what it lacks"
        return Denied(f"GitHub refuses: {words}", remedy)
    detail = f" ({plain(msgspec.json.encode(said.errors).decode())})" if said.errors else ""
    return Invalid(f"GitHub refuses ({status}): {words}{detail}")


def _limited(headers: Mapping[str, str], words: str) -> bool:
    """The primary limit, or one of the secondary ones, which some answers tell by their words alone."""
    said = words.casefold()
    return "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0" or "rate limit" in said


def _reset(headers: Mapping[str, str]) -> str | None:
    return headers.get("x-ratelimit-reset") if headers.get("x-ratelimit-remaining") == "0" else None


def _now_there(headers: Mapping[str, str]) -> float | None:
    try:
        there: datetime = parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return there.timestamp()
