"""GitHub and GitHub Enterprise."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote

from msgspec.structs import replace

from reconciler.forge.base import (
    PAGE,
    Check,
    Comment,
    Denied,
    Draft,
    Invalid,
    Pull,
    State,
    Status,
    Token,
    plain,
)
from reconciler.forge.github.answers import (
    Account,
    CommentAnswer,
    Made,
    Message,
    Permission,
    PullAnswer,
    Repository,
    ReviewAnswer,
    opinions,
    pull_of,
)
from reconciler.forge.github.checks import run_of, runs_more
from reconciler.forge.github.connection import App, Connection
from reconciler.forge.paging import pages
from reconciler.forge.refusals import no_team, not_seen, require_name
from reconciler.model.reviews import Review

__all__ = ["API", "App", "GitHub"]

API = "https://api.github.com"
DESCRIPTION_MAX = 140
REVIEWERS_MAX = 30
WRITES = {"admin", "maintain", "write"}
NEEDED = {"pull_requests": "write", "statuses": "write", "deployments": "write"}
"""What an App must be given beside reading."""
DEPLOYED: dict[State, str] = {
    "pending": "in_progress",
    "success": "success",
    "failure": "failure",
    "error": "inactive",
}
AUTO_MERGE = """mutation($pull: ID!) {
  enablePullRequestAutoMerge(input: {pullRequestId: $pull}) { clientMutationId }
}"""


class GitHub:
    """`repository`: owner/name. Either `token` or `app`; both are asked for their secret at each use."""

    name = "GitHub"

    def __init__(
        self, repository: str, *, api: str = API, token: Token | None = None, app: App | None = None
    ) -> None:
        self._repository = repository
        self._at = f"/repos/{quote(repository)}"
        self._app = app
        self._connection = Connection(repository, api, token, app)
        self._ask = self._connection.ask
        self._may_run_checks = True
        """As far as we have been told."""

    def close(self) -> None:
        self._connection.close()

    def check(self) -> None:
        """Ask for the repository, and look at what the token may do: a classic one says it, an App's installation too.

        A fine-grained token says it only when it is refused something.
        """
        try:
            headers, found = self._connection.headed("GET", self._at, Repository)
        except Invalid:
            raise not_seen(self.name, self._repository) from None
        require_name(self.name, self._repository, found.full_name)
        scopes = headers.get("x-oauth-scopes")
        if scopes is not None and scopes.strip():
            given = {scope.strip() for scope in scopes.split(",")}
            if not given & {"repo", *(() if found.private else ("public_repo",))}:
                raise Denied(
                    "GitHub: the token lacks the scope repo",
                    f"give it that scope; it has {plain(scopes)}",
                )
        if self._app is not None:
            given_to = self._connection.permissions()
            if lacks := sorted(name for name in NEEDED if given_to.get(name) != "write"):
                raise Denied(
                    f"GitHub: the App may not write {', '.join(lacks)}",
                    f"give App {self._app.id} that permission, and accept it for {self._repository}",
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
        """A check run, which Apps alone may make. One that may not makes a status from then on, as a token does."""
        if self._may_run_checks and self._connection.is_app():
            try:
                made = self._ask("POST", f"{self._at}/check-runs", Made, run_of(commit, check))
                for more in runs_more(check):
                    self._ask("PATCH", f"{self._at}/check-runs/{made.id}", Made, more)
            except Denied:
                self._may_run_checks = False
            else:
                return
        self.set_status(commit, Status(check.context, check.state, check.title))

    def set_deployment(self, commit: str, environment: str, status: Status) -> None:
        """As GitHub's own pages show it; one deployment for a commit in an environment."""
        where = f"{self._at}/deployments"
        known = self._ask(
            "GET", f"{where}?sha={commit}&environment={quote(environment, safe='')}", list[Made]
        )
        if known:
            made = known[0]
        else:
            asked = {
                "ref": commit,
                "environment": environment,
                "auto_merge": False,
                "required_contexts": [],
                "description": status.context,
            }
            made = self._ask("POST", where, Made, asked)
        shown = {"state": DEPLOYED[status.state], "description": status.description[:DESCRIPTION_MAX]}
        self._ask("POST", f"{where}/{made.id}/statuses", Made, shown)

    def pulls_with(self, commit: str) -> tuple[Pull, ...]:
        found = self._ask("GET", f"{self._at}/commits/{commit}/pulls", list[PullAnswer])
        return tuple(pull_of(one) for one in found)

    # comments

    def comments(self, number: int) -> tuple[Comment, ...]:
        found = pages(partial(self._page, f"{self._at}/issues/{number}/comments?", list[CommentAnswer]))
        return tuple(Comment(one.id, one.body or "") for one in found)

    def comment(self, number: int, body: str) -> None:
        self._ask("POST", f"{self._at}/issues/{number}/comments", Made, {"body": body})

    def edit_comment(self, _number: int, comment: int, body: str, /) -> None:
        self._ask("PATCH", f"{self._at}/issues/comments/{comment}", Made, {"body": body})

    # pull requests

    def pull(self, number: int) -> Pull:
        return pull_of(self._ask("GET", f"{self._at}/pulls/{number}", PullAnswer))

    def pull_from(self, branch: str) -> Pull | None:
        owner = self._repository.partition("/")[0]
        query = f"state=all&sort=created&direction=desc&head={quote(f'{owner}:{branch}', safe='')}"
        found = self._ask("GET", f"{self._at}/pulls?{query}", list[PullAnswer])
        return next((pull_of(one) for one in found if one.head.ref == branch), None)

    def open_pulls(self, base: str) -> tuple[Pull, ...]:
        query = f"state=open&sort=created&direction=desc&base={quote(base, safe='')}&"
        return tuple(map(pull_of, pages(partial(self._page, f"{self._at}/pulls?{query}", list[PullAnswer]))))

    def head_ref(self, pull: Pull) -> str:
        return f"refs/pull/{pull.number}/head"

    def open_pull(self, draft: Draft) -> Pull:
        asked = {"title": draft.title, "head": draft.branch, "base": draft.base, "body": draft.body}
        made = self._ask("POST", f"{self._at}/pulls", PullAnswer, asked)
        if draft.labels:
            self.label_pull(made.number, draft.labels)
        return replace(pull_of(made), labels=draft.labels)

    def edit_pull(self, number: int, title: str, body: str, /) -> None:
        self._ask("PATCH", f"{self._at}/pulls/{number}", PullAnswer, {"title": title, "body": body})

    def label_pull(self, number: int, labels: tuple[str, ...], /) -> None:
        self._ask("POST", f"{self._at}/issues/{number}/labels", list[Any], {"labels": list(labels)})

    def unlabel_pull(self, number: int, labels: tuple[str, ...], /) -> None:
        for label in labels:
            with suppress(Invalid):  # it is not there
                where = f"{self._at}/issues/{number}/labels/{quote(label, safe='')}"
                self._ask("DELETE", where, list[Any])

    def close_pull(self, number: int) -> None:
        self._ask("PATCH", f"{self._at}/pulls/{number}", PullAnswer, {"state": "closed"})

    def merge_when_ready(self, pull: Pull) -> bool:
        """GitHub refuses that for what nothing stands in the way of: then it is merged, if it is still the same."""
        found = self._ask("GET", f"{self._at}/pulls/{pull.number}", PullAnswer)
        try:
            self._connection.mutate(AUTO_MERGE, {"pull": found.node_id})
        except Invalid as refusal:
            if "clean status" not in str(refusal):
                return False
            merge = {"sha": pull.head}
            self._ask("PUT", f"{self._at}/pulls/{pull.number}/merge", Message, merge)
        return True

    # people

    def reviews(self, number: int) -> tuple[Review, ...]:
        """Whether they may write is asked for the first REVIEWERS_MAX; the others count as if they may not."""
        found = pages(partial(self._page, f"{self._at}/pulls/{number}/reviews?", list[ReviewAnswer]))
        said = opinions(found)
        return tuple(
            Review(one.person, one.verdict, one.commit, index < REVIEWERS_MAX and self._may_write(one.person))
            for index, one in enumerate(said)
        )

    def members(self, team: str, /) -> frozenset[str]:
        org, _, slug = team.removeprefix("@").partition("/")
        where = f"/orgs/{quote(org, safe='')}/teams/{quote(slug, safe='')}/members?"
        try:
            return frozenset(one.login for one in pages(partial(self._page, where, list[Account])))
        except Invalid:
            raise no_team(self.name, team, "read:org (an App: Members, to read)") from None

    def _may_write(self, person: str) -> bool:
        where = f"{self._at}/collaborators/{quote(person, safe='')}/permission"
        try:
            return self._ask("GET", where, Permission).permission in WRITES
        except Invalid:  # there is no such account any more
            return False

    def _page(self, where: str, kind: type[list[Any]], page: int) -> list[Any]:
        return self._ask("GET", f"{where}per_page={PAGE}&page={page}", kind)
