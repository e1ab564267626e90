"""What Gitea and Forgejo say: the answers that are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from reconciler.forge.base import Pull
from reconciler.model.codec import resolve_types
from reconciler.model.reviews import Review


class Permissions(Struct, frozen=True):
    push: bool = False


class Repository(Struct, frozen=True):
    full_name: str
    permissions: Permissions = Permissions()


class Account(Struct, frozen=True):
    login: str


class Branch(Struct, frozen=True):
    ref: str = ""
    sha: str = ""
    repo_id: int = 0


class Label(Struct, frozen=True):
    id: int
    name: str


class PullAnswer(Struct, frozen=True):
    number: int
    html_url: str
    state: str
    head: Branch
    base: Branch
    merged: bool = False
    title: str = ""
    body: str = ""
    user: Account | None = None
    labels: tuple[Label, ...] | None = ()


class CommentAnswer(Struct, frozen=True):
    id: int
    body: str = ""


class ReviewAnswer(Struct, frozen=True):
    state: str
    user: Account | None = None
    """None for what a team is asked for."""
    commit_id: str = ""
    official: bool = False
    """Whether it counts by the rules of the branch: of somebody who may write, where no rule says otherwise."""
    dismissed: bool = False


class Team(Struct, frozen=True):
    id: int
    name: str


class Teams(Struct, frozen=True):
    data: tuple[Team, ...] | None = ()


class Made(Struct, frozen=True):
    id: int


class Message(Struct, frozen=True):
    message: str = ""


resolve_types(Repository, PullAnswer, CommentAnswer, ReviewAnswer, Teams, Label, Made, Message)

VERDICTS: dict[str, Literal["approved", "rejected"]] = {
    "APPROVED": "approved",
    "REQUEST_CHANGES": "rejected",
}


def pull_of(found: PullAnswer) -> Pull:
    state: Literal["open", "closed", "merged"] = (
        "merged" if found.merged else "closed" if found.state == "closed" else "open"
    )
    return Pull(
        number=found.number,
        url=found.html_url,
        state=state,
        branch=found.head.ref,
        head=found.head.sha,
        base=found.base.ref,
        title=found.title,
        body=found.body,
        author=found.user.login if found.user else "",
        labels=tuple(one.name for one in found.labels or ()),
        fork=found.head.repo_id != found.base.repo_id,
    )


def opinions(found: Iterable[ReviewAnswer]) -> tuple[Review, ...]:
    """The newest word of each, of reviews from the oldest to the newest."""
    said = dict[str, Review]()
    for one in found:
        if one.user is None or one.state not in VERDICTS:
            continue
        said.pop(one.user.login, None)
        if not one.dismissed:
            said[one.user.login] = Review(one.user.login, VERDICTS[one.state], one.commit_id, one.official)
    return tuple(said.values())


def words_of(text: bytes) -> str:
    """What a refusal says. Raises MsgspecError where it is none of Gitea's."""
    return msgspec.json.decode(text, type=Message).message
