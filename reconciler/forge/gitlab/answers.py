"""What GitLab says: the answers that are read, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from reconciler.forge.base import Denied, Invalid, Pull, Unavailable
from reconciler.forge.refusals import refusal
from reconciler.model.codec import resolve_types

SCOPE = "api"
STATES: dict[str, Literal["open", "closed", "merged"]] = {
    "opened": "open",
    "locked": "open",
    "merged": "merged",
}


class Access(Struct, frozen=True):
    access_level: int = 0


class Permissions(Struct, frozen=True):
    project_access: Access | None = None
    group_access: Access | None = None


class Project(Struct, frozen=True):
    path_with_namespace: str
    permissions: Permissions | None = None


class TokenAnswer(Struct, frozen=True):
    scopes: list[str]


class Account(Struct, frozen=True):
    id: int
    username: str


class PullAnswer(Struct, frozen=True):
    iid: int
    web_url: str
    state: str
    source_branch: str
    target_branch: str
    sha: str | None = None
    title: str = ""
    description: str | None = None
    author: Account | None = None
    labels: tuple[str, ...] = ()
    source_project_id: int | None = None
    """None where it is gone."""
    target_project_id: int | None = None


class CommentAnswer(Struct, frozen=True):
    id: int
    body: str


class Approval(Struct, frozen=True):
    user: Account
    approved_at: datetime | None = None
    """Only newer servers say it."""


class Approvals(Struct, frozen=True):
    approved_by: tuple[Approval, ...] = ()


class Reviewer(Struct, frozen=True):
    user: Account
    state: str = ""


class Version(Struct, frozen=True):
    """One push to a merge request."""

    head_commit_sha: str
    created_at: datetime


class Member(Struct, frozen=True):
    username: str
    access_level: int = 0


class Made(Struct, frozen=True):
    id: int


resolve_types(Project, TokenAnswer, PullAnswer, CommentAnswer, Approvals, Reviewer, Version, Member, Made)


def pull_of(found: PullAnswer) -> Pull:
    return Pull(
        number=found.iid,
        url=found.web_url,
        state=STATES.get(found.state, "closed"),
        branch=found.source_branch,
        head=found.sha or "",
        base=found.target_branch,
        title=found.title,
        body=found.description or "",
        author=found.author.username if found.author else "",
        labels=found.labels,
        fork=found.source_project_id != found.target_project_id,
    )


def head_at(versions: Iterable[Version], moment: datetime | None) -> str:
    """The commit that a merge request's branch was at then; empty where that is not known."""
    if moment is None:
        return ""
    before = [one for one in versions if one.created_at <= moment]
    return max(before, key=lambda one: one.created_at).head_commit_sha if before else ""


def refusal_of(
    status: int, words: str, headers: Mapping[str, str] = MappingProxyType({})
) -> Unavailable | Denied | Invalid:
    """What an answer other than success means."""
    remedy = f"give the token the scope {SCOPE}, and the role Developer"
    return refusal("GitLab", status, headers, words, remedy=remedy)
