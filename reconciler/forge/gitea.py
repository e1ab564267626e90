"""Gitea and Forgejo, which share their API. There is no well-kept client for it, and it takes few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from reconciler.forge.base import (
    PAGES_MAX,
    REQUEST_TIMEOUT_S,
    Comment,
    Denied,
    Draft,
    Invalid,
    Pull,
    Status,
    Token,
    Unavailable,
    plain,
    wait_s,
)
from reconciler.model.codec import resolve_types

if TYPE_CHECKING:
    from urllib3 import PoolManager

T = TypeVar("T")
PAGE = 50
"""The most that a server gives by default."""
BODY_BYTES_MAX = 8 << 20
DESCRIPTION_MAX = 255


class Permissions(Struct, frozen=True):
    push: bool = False


class Repository(Struct, frozen=True):
    full_name: str
    permissions: Permissions = Permissions()


class Branch(Struct, frozen=True):
    ref: str = ""
    sha: str = ""


class PullAnswer(Struct, frozen=True):
    number: int
    html_url: str
    state: str
    head: Branch
    base: Branch
    merged: bool = False


class CommentAnswer(Struct, frozen=True):
    id: int
    body: str = ""


class Label(Struct, frozen=True):
    id: int
    name: str


class Made(Struct, frozen=True):
    id: int


class Message(Struct, frozen=True):
    message: str = ""


resolve_types(Repository, PullAnswer, CommentAnswer, Label, Made, Message)


class Gitea:
    """`api`: the base URL, which ends in /api/v1. `repository`: owner/name."""

    name = "Gitea"

    def __init__(self, repository: str, *, api: str, token: Token) -> None:
        self._repository = repository
        self._at = f"{api.rstrip('/')}/repos/{quote(repository)}"
        self._token = token
        self._pool: PoolManager | None = None

    def close(self) -> None:
        if self._pool is not None:
            self._pool.clear()

    def check(self) -> None:
        """Ask for the repository. What else a token lacks, the server says by the scope's name when it refuses."""
        try:
            found = self._ask("GET", "", Repository)
        except Invalid:
            raise Denied(
                f"Gitea has no {self._repository} that the token may see",
                "check forge.repository, and what the token may read",
            ) from None
        if found.full_name.casefold() != self._repository.casefold():
            raise Denied(
                f"Gitea: {self._repository} has moved to {plain(found.full_name)}",
                "set forge.repository (and repository.url) to where it is now",
            )
        if not found.permissions.push:
            raise Denied(
                "Gitea: the token's user may not write to the repository", "let that user write to it"
            )

    def set_status(self, commit: str, status: Status) -> None:
        asked = {
            "state": status.state,
            "context": status.context,
            "description": status.description[:DESCRIPTION_MAX],
        }
        self._ask("POST", f"/statuses/{commit}", Made, asked)

    def set_deployment(self, commit: str, environment: str, status: Status) -> None:
        """It has no pages for deployments."""

    def pulls_with(self, commit: str) -> tuple[Pull, ...]:
        try:
            return (_pull(self._ask("GET", f"/commits/{commit}/pull", PullAnswer)),)
        except Invalid:  # 404: it came without any
            return ()

    def comments(self, number: int) -> tuple[Comment, ...]:
        """The server gives them all at once."""
        found = self._ask("GET", f"/issues/{number}/comments", list[CommentAnswer])
        return tuple(Comment(one.id, one.body) for one in found)

    def comment(self, number: int, body: str) -> None:
        self._ask("POST", f"/issues/{number}/comments", Made, {"body": body})

    def edit_comment(self, _number: int, comment: int, body: str, /) -> None:
        self._ask("PATCH", f"/issues/comments/{comment}", Made, {"body": body})

    def pull_from(self, branch: str) -> Pull | None:
        """It cannot be asked for one branch: the newest pull requests are looked through."""
        for page in range(1, PAGES_MAX + 1):
            found = self._ask("GET", f"/pulls?state=all&limit={PAGE}&page={page}", list[PullAnswer])
            for one in found:
                if one.head.ref == branch:
                    return _pull(one)
            if len(found) < PAGE:
                break
        return None

    def open_pull(self, draft: Draft) -> Pull:
        asked = {
            "title": draft.title,
            "head": draft.branch,
            "base": draft.base,
            "body": draft.body,
            "labels": [self._label(name) for name in draft.labels],
        }
        return _pull(self._ask("POST", "/pulls", PullAnswer, asked))

    def close_pull(self, number: int) -> None:
        self._ask("PATCH", f"/pulls/{number}", PullAnswer, {"state": "closed"})

    def merge_when_ready(self, pull: Pull) -> bool:
        asked = {"Do": "merge", "merge_when_checks_succeed": True, "head_commit_id": pull.head}
        try:
            self._ask("POST", f"/pulls/{pull.number}/merge", Message, asked)
        except Invalid:
            return False
        return True

    def _label(self, name: str) -> int:
        """The number of the label of this name, which is made where it is not there."""
        for one in self._ask("GET", f"/labels?limit={PAGE}", list[Label]):
            if one.name == name:
                return one.id
        return self._ask("POST", "/labels", Label, {"name": name, "color": "#c5d1e8"}).id

    def _ask(self, method: str, path: str, kind: type[T], body: object = None) -> T:
        """The answer. Raises Unavailable, Denied and Invalid, none of which holds the token."""
        from urllib3 import PoolManager, Retry
        from urllib3.exceptions import HTTPError

        if self._pool is None:
            self._pool = PoolManager(maxsize=2)
        try:
            answer = self._pool.request(
                method,
                f"{self._at}{path}",
                body=msgspec.json.encode(body) if body is not None else None,
                headers={
                    "Authorization": f"token {self._token()}",
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                    "User-Agent": "ugs",
                },
                timeout=REQUEST_TIMEOUT_S,
                retries=Retry(0, redirect=False),
                redirect=False,
                preload_content=False,
            )
            text = answer.read(BODY_BYTES_MAX)
            answer.release_conn()
        except HTTPError as error:
            raise Unavailable(f"Gitea cannot be reached: {type(error).__name__}") from None
        if not 200 <= answer.status < 300:
            raise _refusal(answer.status, answer.headers, text)
        try:
            return msgspec.json.decode(text or b"{}", type=kind)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unavailable(
                f"Gitea answered {answer.status} with what cannot be read ({plain(error)})"
            ) from None


def _pull(found: PullAnswer) -> Pull:
    state: Literal["open", "closed", "merged"] = (
        "merged" if found.merged else "closed" if found.state == "closed" else "open"
    )
    return Pull(found.number, found.html_url, state, found.head.ref, found.head.sha, found.base.ref)


def _refusal(status: int, headers: Mapping[str, str], text: bytes) -> Unavailable | Denied | Invalid:
    """What an answer other than success means. Of a scope that is lacking, the server's words have the name."""
    try:
        words = plain(msgspec.json.decode(text, type=Message).message)
    except (msgspec.MsgspecError, ValueError):
        words = ""
    if status == 429:
        retry_s = wait_s(headers.get("retry-after"), None, None)
        return Unavailable(f"Gitea asks to wait {retry_s:.0f} s", retry_s=retry_s)
    if 300 <= status < 400:
        return Denied("Gitea: the repository has moved", "set forge.repository to where it is now")
    if status >= 500 or not words:
        return Unavailable(f"Gitea answered {status}{f': {words}' if words else ''}")
    if status == 401:
        return Denied(f"Gitea does not know the token: {words}", "put a valid one in place of forge.token")
    if status == 403:
        return Denied(f"Gitea refuses: {words}", "give the token what it lacks")
    return Invalid(f"Gitea refuses ({status}): {words}")
