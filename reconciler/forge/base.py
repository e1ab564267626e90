"""What UGS asks of the server where pull requests are: a Protocol, plain values, and the fates of a refusal.

Every call blocks and is made in a thread. Each may raise `Unavailable` (it may pass), `Denied` (a person must mend
it), and `Invalid` (this one request will never be taken).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, Protocol

from msgspec import Struct

from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.reviews import Review

REQUEST_TIMEOUT_S = 15
PAGES_MAX = 10
PAGE = 100
"""So many comments or pull requests a page."""
SAID_CHARACTERS_MAX = 300
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")

State = Literal["pending", "success", "failure", "error"]
"""`error`: it was not tried to its end, as when a newer one took its place."""


class Status(Struct, frozen=True):
    """How one commit stands under one name, such as `ugs/production/api`."""

    context: str
    state: State
    description: str


class Comment(Struct, frozen=True):
    """A comment on a pull request, as it stands there now."""

    id: int
    body: str


class Pull(Struct, frozen=True):
    """A pull request. `head`: the commit that its branch was last seen at."""

    number: int
    url: str
    state: Literal["open", "closed", "merged"]
    branch: str
    head: str
    base: str
    title: str = ""
    body: str = ""
    author: str = ""
    """The account that opened it, as the forge names it."""
    labels: tuple[str, ...] = ()
    fork: bool = False
    """Its branch lies in another repository, or in one that is gone."""


class Draft(Struct, frozen=True):
    """A pull request to be opened, from a branch of the same repository."""

    branch: str
    base: str
    title: str
    body: str
    labels: tuple[str, ...] = ()


class Annotation(Struct, frozen=True):
    """What is wrong in one line. `path`: in the repository; `line`: from 1."""

    path: str
    line: int
    message: str


class Check(Struct, frozen=True):
    """What was looked at of one commit, under a name such as `ugs/check`, with what is wrong, line by line."""

    context: str
    state: State
    title: str
    """One line."""
    summary: str
    """Markdown."""
    annotations: tuple[Annotation, ...] = ()


class Unavailable(TransientError):
    """Not reached, overloaded, or asking to wait: to be tried again after `retry_s`, with backoff where None."""

    def __init__(self, message: str, remedy: str = "", *, retry_s: float | None = None) -> None:
        super().__init__(message, remedy)
        self.retry_s = retry_s


class Denied(HostError):
    """The token is missing, expired, or may not do this; or the repository is not where we look for it."""


class Invalid(UgsError):
    """The forge knows what we mean, and will never do it."""


class Forge(Protocol):
    """One repository on one forge."""

    name: str
    """As people call it: GitHub."""

    def close(self) -> None:
        """Let go of connections. It may be asked again all the same."""

    def check(self) -> None:
        """Whether the repository is there and the token may do what is needed. Raises Denied by the scope's name."""

    def set_status(self, commit: str, status: Status) -> None:
        """Say how a commit stands; the last one said of a context is the one that is shown."""

    def set_check(self, commit: str, check: Check) -> None:
        """The same with annotations on lines, where the forge has them for a token of this kind; else a status."""

    def set_deployment(self, commit: str, environment: str, status: Status) -> None:
        """The same on the forge's own pages of what runs where; nothing, where it has none."""

    def pulls_with(self, commit: str) -> tuple[Pull, ...]:
        """The pull requests by which a commit came, merged ones among them."""

    def comments(self, number: int) -> tuple[Comment, ...]:
        """All comments on a pull request, oldest first, at most PAGES_MAX pages."""

    def comment(self, number: int, body: str) -> None: ...

    def edit_comment(self, number: int, comment: int, body: str, /) -> None: ...

    def pull_from(self, branch: str) -> Pull | None:
        """The newest pull request from this branch of the same repository, whatever became of it."""

    def open_pulls(self, base: str) -> tuple[Pull, ...]:
        """All open ones into this branch, the newest first, at most PAGES_MAX pages."""

    def pull(self, number: int) -> Pull:
        """The pull request of this number. Raises Invalid where there is none."""

    def head_ref(self, pull: Pull) -> str:
        """The Git ref of our own repository under which its head is fetched, a fork's too; empty where the forge
        keeps none."""

    def open_pull(self, draft: Draft) -> Pull: ...

    def edit_pull(self, number: int, title: str, body: str, /) -> None: ...

    def label_pull(self, number: int, labels: tuple[str, ...], /) -> None:
        """Add these labels to those that it has; nothing, where the forge has no labels."""

    def unlabel_pull(self, number: int, labels: tuple[str, ...], /) -> None:
        """Take these labels off. One that is not there is fine; nothing, where the forge has no labels."""

    def close_pull(self, number: int) -> None: ...

    def reviews(self, number: int) -> tuple[Review, ...]:
        """What people have said of a pull request, one word of each."""

    def members(self, team: str, /) -> frozenset[str]:
        """The accounts of a team, `@org/team`. Raises Denied, by the scope's name, where it may not be seen."""

    def merge_when_ready(self, pull: Pull) -> bool:
        """Ask the forge to merge it by itself once its rules allow it; False where it has no such thing, or it is
        switched off."""


Token = Callable[[], str]
"""Reads the token anew, so that a rotated one is seen. Raises HostError where there is none."""


def plain(text: object) -> str:
    """What a forge said, as one printable line of bounded length."""
    return " ".join(_UNPRINTABLE.sub(" ", str(text)).split())[:SAID_CHARACTERS_MAX]
