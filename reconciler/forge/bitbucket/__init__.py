"""Bitbucket Cloud. There is no well-kept client for it. It has neither labels nor deployments of our kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from reconciler.forge.base import (
    PAGE,
    PAGES_MAX,
    Check,
    Comment,
    Denied,
    Draft,
    Invalid,
    Pull,
    Status,
    Token,
)
from reconciler.forge.bitbucket.answers import (
    CommentAnswer,
    Commit,
    Event,
    Numbered,
    Page,
    Permission,
    PullAnswer,
    ReportAnswer,
    Repository,
    StatusAnswer,
    name_of,
    pull_of,
    seen_by,
    words_of,
)
from reconciler.forge.bitbucket.checks import annotations_of, report_id, report_of, status_of
from reconciler.forge.http import Connection
from reconciler.forge.paging import pages
from reconciler.forge.refusals import no_team, not_seen, require_name
from reconciler.model.reviews import Review

T = TypeVar("T")
API = "https://api.bitbucket.org/2.0"
SITE = "https://bitbucket.org"
PULLS_PAGE = 50
"""The most that Bitbucket gives of pull requests."""
HEADS_MAX = 5_000
WRITES = {"write", "admin"}
EVERY = [("state", one) for one in ("OPEN", "MERGED", "DECLINED", "SUPERSEDED")]


class Bitbucket:
    """`repository`: workspace/name. `token`: an access token of the repository, the project or the workspace."""

    name = "Bitbucket"

    def __init__(self, repository: str, *, api: str = API, token: Token) -> None:
        self._repository = repository
        self._at = f"/repositories/{quote(repository)}"
        self._connection = Connection(self.name, api, token, scheme="Bearer", words=words_of)
        self._ask = self._connection.ask
        self._heads: dict[tuple[int, str], str] = {}
        """By number and beginning, the whole id of a head."""

    def close(self) -> None:
        self._connection.close()

    def check(self) -> None:
        """Ask for the repository. What else a token lacks, Bitbucket says when it refuses."""
        try:
            found = self._ask("GET", self._at, Repository)
        except Invalid:
            raise not_seen(self.name, self._repository) from None
        require_name(self.name, self._repository, found.full_name)

    # commits

    def set_status(self, commit: str, status: Status) -> None:
        asked = status_of(status, f"{SITE}/{self._repository}/commits/{commit}")
        self._ask("POST", f"{self._at}/commit/{commit}/statuses/build", StatusAnswer, asked)

    def set_check(self, commit: str, check: Check) -> None:
        """A status, and a report with annotations."""
        self.set_status(commit, Status(check.context, check.state, check.title))
        where = f"{self._at}/commit/{commit}/reports/{report_id(check)}"
        self._ask("PUT", where, ReportAnswer, report_of(check))
        for some in annotations_of(check):
            self._ask("POST", f"{where}/annotations", list[Any], some)

    def set_deployment(self, commit: str, environment: str, status: Status) -> None:
        """Its deployments are those of its pipelines."""

    def pulls_with(self, commit: str) -> tuple[Pull, ...]:
        try:
            found = self._ask("GET", f"{self._at}/commit/{commit}/pullrequests", Page[Numbered]).values
        except Invalid:  # 404: it came without any
            return ()
        return tuple(self.pull(one.id) for one in found[:PAGES_MAX])

    # comments

    def comments(self, number: int) -> tuple[Comment, ...]:
        found = self._pages(f"{self._pull(number)}/comments?sort=created_on&", Page[CommentAnswer])
        return tuple(Comment(one.id, one.content.raw) for one in found if not one.deleted)

    def comment(self, number: int, body: str) -> None:
        self._ask("POST", f"{self._pull(number)}/comments", Numbered, {"content": {"raw": body}})

    def edit_comment(self, number: int, comment: int, body: str, /) -> None:
        where = f"{self._pull(number)}/comments/{comment}"
        self._ask("PUT", where, Numbered, {"content": {"raw": body}})

    # pull requests

    def pull(self, number: int) -> Pull:
        return self._whole(self._ask("GET", self._pull(number), PullAnswer))

    def pull_from(self, branch: str) -> Pull | None:
        asked = [*EVERY, ("sort", "-created_on"), ("q", f"source.branch.name = {_quoted(branch)}")]
        where = f"{self._at}/pullrequests?{urlencode(asked)}&"
        for one in self._pages(where, Page[PullAnswer], size=PULLS_PAGE):
            there = one.source.repository
            if one.source.branch.name == branch and there and there.full_name == self._repository:
                return self._whole(one)
        return None

    def open_pulls(self, base: str) -> tuple[Pull, ...]:
        asked = {"state": "OPEN", "sort": "-created_on", "q": f"destination.branch.name = {_quoted(base)}"}
        where = f"{self._at}/pullrequests?{urlencode(asked)}&"
        found = self._pages(where, Page[PullAnswer], size=PULLS_PAGE)
        return tuple(self._whole(one) for one in found if one.destination.branch.name == base)

    def head_ref(self, pull: Pull) -> str:  # noqa: ARG002  it keeps none
        return ""

    def open_pull(self, draft: Draft) -> Pull:
        asked = {
            "title": draft.title,
            "description": draft.body,
            "source": {"branch": {"name": draft.branch}},
            "destination": {"branch": {"name": draft.base}},
            "close_source_branch": True,
        }
        return self._whole(self._ask("POST", f"{self._at}/pullrequests", PullAnswer, asked))

    def edit_pull(self, number: int, title: str, body: str, /) -> None:
        self._ask("PUT", self._pull(number), PullAnswer, {"title": title, "description": body})

    def label_pull(self, number: int, labels: tuple[str, ...], /) -> None:
        """It has no labels."""

    def unlabel_pull(self, number: int, labels: tuple[str, ...], /) -> None:
        """It has no labels."""

    def close_pull(self, number: int) -> None:
        self._ask("POST", f"{self._pull(number)}/decline", PullAnswer)

    def merge_when_ready(self, pull: Pull) -> bool:
        """It merges at once what nothing stands in the way of, if it is still the same, or not at all."""
        if self.pull(pull.number).head != pull.head:
            return False
        try:
            self._ask("POST", f"{self._pull(pull.number)}/merge", PullAnswer, {"close_source_branch": True})
        except (Invalid, Denied):
            return False
        return True

    # people

    def reviews(self, number: int) -> tuple[Review, ...]:
        """Who may write is known to a token alone that may administer the repository."""
        found = self._ask("GET", self._pull(number), PullAnswer)
        said = {name_of(one.user): one.state for one in found.participants if one.user and one.state}
        if not said:
            return ()
        writers, head = self._writers(), self._whole(found).head
        events = list(self._pages(f"{self._pull(number)}/activity?", Page[Event], size=PULLS_PAGE))
        return tuple(
            Review(who, "approved", seen_by(who, events, head), who in writers)
            if state == "approved"
            else Review(who, "rejected", "", who in writers)
            for who, state in said.items()
            if state in {"approved", "changes_requested"}
        )

    def members(self, team: str, /) -> frozenset[str]:
        """It tells nobody who is in a group."""
        raise no_team(self.name, team, "nothing: name people, for Bitbucket tells nobody who is in a group")

    def _writers(self) -> frozenset[str]:
        workspace, _, slug = self._repository.partition("/")
        where = f"/workspaces/{quote(workspace)}/permissions/repositories/{quote(slug)}?"
        found = self._pages(where, Page[Permission])
        return frozenset(name_of(one.user) for one in found if one.permission in WRITES)

    def _whole(self, found: PullAnswer) -> Pull:
        """With the whole id of its head, of which a pull request has the beginning alone."""
        short = found.source.commit.hash if found.source.commit else ""
        if (found.id, short) not in self._heads:
            if len(self._heads) >= HEADS_MAX:
                self._heads.clear()
            newest = self._ask("GET", f"{self._pull(found.id)}/commits?pagelen=1", Page[Commit]).values
            whole = newest[0].hash if newest and newest[0].hash.startswith(short) else short
            self._heads[found.id, short] = whole
        return pull_of(found, self._heads[found.id, short])

    def _pull(self, number: int) -> str:
        return f"{self._at}/pullrequests/{number}"

    def _pages(self, where: str, kind: type[Page[T]], *, size: int = PAGE) -> Iterator[T]:
        """All that is listed there. `where`: with the `?` or `&` after which a page is asked for."""
        return pages(
            lambda page: self._ask("GET", f"{where}pagelen={size}&page={page}", kind).values, size=size
        )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
