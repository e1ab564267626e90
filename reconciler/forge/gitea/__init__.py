"""Gitea and Forgejo, which share their API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TypeVar
from urllib.parse import quote

from reconciler.forge.base import Check, Comment, Denied, Draft, Invalid, Pull, Status, Token
from reconciler.forge.gitea.answers import (
    Account,
    CommentAnswer,
    Label,
    Made,
    Message,
    PullAnswer,
    Repository,
    ReviewAnswer,
    Teams,
    opinions,
    pull_of,
    words_of,
)
from reconciler.forge.http import Connection
from reconciler.forge.paging import pages
from reconciler.forge.refusals import no_team, not_seen, require_name
from reconciler.model.reviews import Review

T = TypeVar("T")
PAGE = 50
"""The most that a server gives by default."""
DESCRIPTION_MAX = 255
COLOUR = "#c5d1e8"


class Gitea:
    """`api`: the base URL, which ends in /api/v1. `repository`: owner/name."""

    name = "Gitea"

    def __init__(self, repository: str, *, api: str, token: Token) -> None:
        self._repository = repository
        self._at = f"/repos/{quote(repository)}"
        self._connection = Connection(self.name, api, token, scheme="token", words=words_of)
        self._ask = self._connection.ask

    def close(self) -> None:
        self._connection.close()

    def check(self) -> None:
        """Ask for the repository. What else a token lacks, the server says by the scope's name when it refuses."""
        try:
            found = self._ask("GET", self._at, Repository)
        except Invalid:
            raise not_seen(self.name, self._repository) from None
        require_name(self.name, self._repository, found.full_name)
        if not found.permissions.push:
            raise Denied(
                "Gitea: the token's user may not write to the repository", "let that user write to it"
            )

    # commits

    def set_status(self, commit: str, status: Status) -> None:
        asked = {
            "state": status.state,
            "context": status.context,
            "description": status.description[:DESCRIPTION_MAX],
        }
        self._ask("POST", f"{self._at}/statuses/{commit}", Made, asked)

    def set_check(self, commit: str, check: Check) -> None:
        """It has no annotations: a status."""
        self.set_status(commit, Status(check.context, check.state, check.title))

    def set_deployment(self, commit: str, environment: str, status: Status) -> None:
        """It has no pages for deployments."""

    def pulls_with(self, commit: str) -> tuple[Pull, ...]:
        try:
            return (pull_of(self._ask("GET", f"{self._at}/commits/{commit}/pull", PullAnswer)),)
        except Invalid:  # 404: it came without any
            return ()

    # comments

    def comments(self, number: int) -> tuple[Comment, ...]:
        """The server gives them all at once."""
        found = self._ask("GET", f"{self._at}/issues/{number}/comments", list[CommentAnswer])
        return tuple(Comment(one.id, one.body) for one in found)

    def comment(self, number: int, body: str) -> None:
        self._ask("POST", f"{self._at}/issues/{number}/comments", Made, {"body": body})

    def edit_comment(self, _number: int, comment: int, body: str, /) -> None:
        self._ask("PATCH", f"{self._at}/issues/comments/{comment}", Made, {"body": body})

    # pull requests

    def pull(self, number: int) -> Pull:
        return pull_of(self._ask("GET", f"{self._at}/pulls/{number}", PullAnswer))

    def pull_from(self, branch: str) -> Pull | None:
        """It cannot be asked for one branch: the newest pull requests are looked through."""
        found = map(pull_of, self._pages(f"{self._at}/pulls?state=all&", list[PullAnswer]))
        return next((one for one in found if one.branch == branch and not one.fork), None)

    def open_pulls(self, base: str) -> tuple[Pull, ...]:
        """Only newer servers can be asked for one base: all are looked through."""
        found = map(pull_of, self._pages(f"{self._at}/pulls?state=open&", list[PullAnswer]))
        return tuple(one for one in found if one.base == base)

    def head_ref(self, pull: Pull) -> str:
        return f"refs/pull/{pull.number}/head"

    def open_pull(self, draft: Draft) -> Pull:
        asked = {
            "title": draft.title,
            "head": draft.branch,
            "base": draft.base,
            "body": draft.body,
            "labels": self._labels(draft.labels),
        }
        return pull_of(self._ask("POST", f"{self._at}/pulls", PullAnswer, asked))

    def edit_pull(self, number: int, title: str, body: str, /) -> None:
        self._ask("PATCH", f"{self._at}/pulls/{number}", PullAnswer, {"title": title, "body": body})

    def label_pull(self, number: int, labels: tuple[str, ...], /) -> None:
        asked = {"labels": self._labels(labels)}
        self._ask("POST", f"{self._at}/issues/{number}/labels", list[Label], asked)

    def unlabel_pull(self, number: int, labels: tuple[str, ...], /) -> None:
        known = self._known_labels()
        for label in labels:
            if label in known:
                with suppress(Invalid):  # it is not there
                    self._ask("DELETE", f"{self._at}/issues/{number}/labels/{known[label]}", object)

    def close_pull(self, number: int) -> None:
        self._ask("PATCH", f"{self._at}/pulls/{number}", PullAnswer, {"state": "closed"})

    def merge_when_ready(self, pull: Pull) -> bool:
        # Called `Do` before 1.27, of which those servers take either case.
        asked = {"do": "merge", "merge_when_checks_succeed": True, "head_commit_id": pull.head}
        try:
            self._ask("POST", f"{self._at}/pulls/{pull.number}/merge", Message, asked)
        except Invalid:
            return False
        return True

    # people

    def reviews(self, number: int) -> tuple[Review, ...]:
        found = self._pages(f"{self._at}/pulls/{number}/reviews?", list[ReviewAnswer])
        return opinions(found)

    def members(self, team: str, /) -> frozenset[str]:
        org, _, name = team.removeprefix("@").partition("/")
        search = f"/orgs/{quote(org, safe='')}/teams/search?q={quote(name, safe='')}"
        try:
            found = self._ask("GET", search, Teams).data or ()
            number = next((one.id for one in found if one.name.casefold() == name.casefold()), None)
            if number is None:
                raise no_team(self.name, team, "read:organization")
            where = f"/teams/{number}/members?"
            return frozenset(one.login for one in self._pages(where, list[Account]))
        except Invalid:
            raise no_team(self.name, team, "read:organization") from None

    def _labels(self, names: tuple[str, ...]) -> list[int]:
        """The numbers of the labels of these names, which are made where they are not there."""
        if not names:
            return []
        known = self._known_labels()
        for name in names:
            if name not in known:
                asked = {"name": name, "color": COLOUR}
                known[name] = self._ask("POST", f"{self._at}/labels", Label, asked).id
        return [known[name] for name in names]

    def _known_labels(self) -> dict[str, int]:
        """The numbers of the repository's labels, by name."""
        found = self._pages(f"{self._at}/labels?", list[Label])
        return {one.name: one.id for one in found}

    def _pages(self, where: str, kind: type[list[T]]) -> Iterator[T]:
        """All that is listed there. `where`: with the `?` or `&` after which a page is asked for."""
        return pages(lambda page: self._ask("GET", f"{where}limit={PAGE}&page={page}", kind), size=PAGE)
