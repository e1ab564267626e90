"""What GitHub says: the answers that are read, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from reconciler.forge.base import Denied, Invalid, Pull, Unavailable, plain
from reconciler.forge.limits import exhausted
from reconciler.forge.refusals import asks_to_wait, refusal
from reconciler.model.codec import resolve_types
from reconciler.model.reviews import Review


class Repository(Struct, frozen=True):
    full_name: str
    private: bool = True


class Account(Struct, frozen=True):
    login: str


class Label(Struct, frozen=True):
    name: str = ""


class Branch(Struct, frozen=True):
    ref: str
    sha: str
    repo: Repository | None = None
    """None where it is gone."""


class PullAnswer(Struct, frozen=True):
    number: int
    html_url: str
    state: str
    head: Branch
    base: Branch
    node_id: str = ""
    merged_at: str | None = None
    title: str = ""
    body: str | None = None
    user: Account | None = None
    labels: tuple[Label, ...] = ()


class CommentAnswer(Struct, frozen=True):
    id: int
    body: str | None = None


class ReviewAnswer(Struct, frozen=True):
    state: str
    user: Account | None = None
    commit_id: str | None = None


class Permission(Struct, frozen=True):
    permission: str = "none"


class Made(Struct, frozen=True):
    """Whatever was made has a number."""

    id: int


class Message(Struct, frozen=True):
    """What is said in place of an answer."""

    message: str = ""
    errors: Any = None


resolve_types(Repository, PullAnswer, CommentAnswer, ReviewAnswer, Permission, Made, Message)

VERDICTS: dict[str, Literal["approved", "rejected", ""]] = {
    "APPROVED": "approved",
    "CHANGES_REQUESTED": "rejected",
    "DISMISSED": "",
}


def pull_of(found: PullAnswer) -> Pull:
    state: Literal["open", "closed", "merged"] = (
        "merged" if found.merged_at else "closed" if found.state == "closed" else "open"
    )
    here = found.base.repo
    return Pull(
        number=found.number,
        url=found.html_url,
        state=state,
        branch=found.head.ref,
        head=found.head.sha,
        base=found.base.ref,
        title=found.title,
        body=found.body or "",
        author=found.user.login if found.user else "",
        labels=tuple(one.name for one in found.labels),
        fork=here is not None and (found.head.repo is None or found.head.repo.full_name != here.full_name),
    )


def opinions(found: Iterable[ReviewAnswer]) -> list[Review]:
    """The newest word of each, of reviews from the oldest to the newest; whether they may write is not said.

    A comment leaves what somebody said before as it was, and what was dismissed takes it back.
    """
    said = dict[str, Review]()
    for one in found:
        if one.user is None or one.state not in VERDICTS:
            continue
        said.pop(one.user.login, None)
        if verdict := VERDICTS[one.state]:
            said[one.user.login] = Review(one.user.login, verdict, one.commit_id or "", may_write=False)
    return list(said.values())


def refusal_of(status: int, headers: Mapping[str, str], text: str) -> Unavailable | Denied | Invalid:
    """What an answer other than success means."""
    try:
        said = msgspec.json.decode(text, type=Message)
    except (msgspec.MsgspecError, ValueError):
        said = Message()
    words = plain(said.message)
    if status == 403 and _limited(headers, words):
        return asks_to_wait("GitHub", headers)
    needed = headers.get("x-accepted-github-permissions") or headers.get("x-accepted-oauth-scopes")
    return refusal(
        "GitHub",
        status,
        headers,
        words,
        detail=f" ({plain(msgspec.json.encode(said.errors).decode())})" if said.errors else "",
        remedy=f"give the token {plain(needed)}" if needed else "give the token what it lacks",
    )


def _limited(headers: Mapping[str, str], words: str) -> bool:
    """The primary limit, or one of the secondary ones, which some answers tell by their words alone."""
    return "retry-after" in headers or exhausted(headers) or "rate limit" in words.casefold()
