"""What Bitbucket Cloud says: the answers that are read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct

from reconciler.forge.base import Pull
from reconciler.model.codec import resolve_types

T = TypeVar("T")
STATES: dict[str, Literal["open", "closed", "merged"]] = {"OPEN": "open", "MERGED": "merged"}


class Page(Struct, Generic[T], frozen=True):
    values: list[T]


class Repository(Struct, frozen=True):
    full_name: str


class Account(Struct, frozen=True):
    uuid: str
    nickname: str = ""
    """What people are mentioned by; it may be changed, and be somebody else's too."""
    account_id: str = ""


class Commit(Struct, frozen=True):
    hash: str


class Branch(Struct, frozen=True):
    name: str = ""


class End(Struct, frozen=True):
    """Where a pull request comes from, or goes to."""

    branch: Branch = Branch()
    repository: Repository | None = None
    """None where it is gone."""
    commit: Commit | None = None
    """Its id is cut off."""


class Link(Struct, frozen=True):
    href: str = ""


class Links(Struct, frozen=True):
    html: Link = Link()


class Participant(Struct, frozen=True):
    user: Account | None = None
    state: str | None = None


class PullAnswer(Struct, frozen=True):
    id: int
    state: str
    source: End
    destination: End
    links: Links = Links()
    title: str = ""
    description: str | None = None
    author: Account | None = None
    participants: tuple[Participant, ...] = ()


class Numbered(Struct, frozen=True):
    id: int


class Content(Struct, frozen=True):
    raw: str = ""


class CommentAnswer(Struct, frozen=True):
    id: int
    content: Content = Content()
    deleted: bool = False


class Said(Struct, frozen=True):
    """Somebody's approval."""

    date: datetime
    user: Account | None = None


class Update(Struct, frozen=True):
    """A push to a pull request, or another change of it."""

    date: datetime
    source: End = End()


class Event(Struct, frozen=True):
    approval: Said | None = None
    update: Update | None = None


class Permission(Struct, frozen=True):
    user: Account
    permission: str = ""


class StatusAnswer(Struct, frozen=True):
    key: str


class ReportAnswer(Struct, frozen=True):
    title: str


class Trouble(Struct, frozen=True):
    message: str = ""
    detail: Any = None


class Message(Struct, frozen=True):
    error: Trouble = Trouble()


resolve_types(
    Repository,
    StatusAnswer,
    ReportAnswer,
    PullAnswer,
    CommentAnswer,
    Commit,
    Event,
    Permission,
    Numbered,
    Message,
)


def words_of(text: bytes) -> str:
    """What a refusal says. Raises MsgspecError where it is none of Bitbucket's."""
    said = msgspec.json.decode(text, type=Message).error
    lacks = said.detail.get("required") if isinstance(said.detail, dict) else None
    lacks = lacks if isinstance(lacks, list) else []
    return f"{said.message} (required: {', '.join(map(str, lacks))})" if lacks else said.message


def name_of(account: Account | None) -> str:
    """The account's own id where there is one: nobody chooses it, and it stays."""
    return account.account_id or account.uuid if account else ""


def pull_of(found: PullAnswer, head: str) -> Pull:
    """`head`: the whole id."""
    there, here = found.source.repository, found.destination.repository
    return Pull(
        number=found.id,
        url=found.links.html.href,
        state=STATES.get(found.state, "closed"),
        branch=found.source.branch.name,
        head=head,
        base=found.destination.branch.name,
        title=found.title,
        body=found.description or "",
        author=name_of(found.author),
        fork=there is None or (here is not None and there.full_name != here.full_name),
    )


def seen_by(person: str, events: Iterable[Event], head: str) -> str:
    """The commit that somebody approved: what the branch was at then, cut off where it is not the head; empty where
    nothing says it."""
    told = list(events)
    dates = [one.approval.date for one in told if one.approval and name_of(one.approval.user) == person]
    pushes = [one.update for one in told if one.update and one.update.source.commit]
    before = [one for one in pushes if dates and one.date <= max(dates)]
    newest = max(before, key=lambda one: one.date, default=None)
    if newest is None or newest.source.commit is None:
        return ""
    seen = newest.source.commit.hash
    return head if seen and head.startswith(seen) else seen
