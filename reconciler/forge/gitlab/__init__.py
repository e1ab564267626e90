"""GitLab. Merge requests are pulls."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

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
from reconciler.forge.gitlab.answers import (
    SCOPE,
    Approvals,
    CommentAnswer,
    Made,
    Member,
    Project,
    PullAnswer,
    Reviewer,
    TokenAnswer,
    Version,
    head_at,
    pull_of,
)
from reconciler.forge.gitlab.connection import Connection
from reconciler.forge.paging import pages
from reconciler.forge.refusals import no_team, not_seen, require_name
from reconciler.model.reviews import Review

API = "https://gitlab.com"
DEVELOPER = 30
DESCRIPTION_MAX = 255
REVIEWERS_MAX = 30
SHOWN: dict[State, str] = {
    "pending": "running",
    "success": "success",
    "failure": "failed",
    "error": "canceled",
}


class GitLab:
    """`repository`: group/name. `api`: the server's base URL."""

    name = "GitLab"

    def __init__(self, repository: str, *, api: str = API, token: Token) -> None:
        self._repository = repository
        self._at = f"/projects/{quote(repository, safe='')}"
        self._connection = Connection(api, token)
        self._ask = self._connection.ask

    def close(self) -> None:
        self._connection.close()

    def check(self) -> None:
        """Ask for the project, our access to it, and the token's scopes."""
        try:
            found = self._ask("get", self._at, Project)
        except Invalid:
            raise not_seen(self.name, self._repository) from None
        require_name(self.name, self._repository, found.path_with_namespace)
        scopes = self._ask("get", "/personal_access_tokens/self", TokenAnswer).scopes
        if SCOPE not in scopes:
            raise Denied(
                f"GitLab: the token lacks the scope {SCOPE}",
                f"give it that scope; it has {plain(', '.join(scopes))}",
            )
        given = found.permissions
        levels = (
            [one.access_level for one in (given.project_access, given.group_access) if one] if given else []
        )
        if levels and max(levels) < DEVELOPER:
            raise Denied("GitLab: the token's user is no Developer of the project", "give that role to it")

    # commits

    def set_status(self, commit: str, status: Status) -> None:
        """GitLab refuses to be told what it knows: that is no trouble."""
        asked = {
            "state": SHOWN[status.state],
            "name": status.context,
            "description": status.description[:DESCRIPTION_MAX],
        }
        try:
            self._ask("post", f"{self._at}/statuses/{commit}", Made, asked)
        except Invalid as refusal:
            if "Cannot transition status" not in str(refusal):
                raise

    def set_check(self, commit: str, check: Check) -> None:
        """Annotations come from its pipelines alone: a status."""
        self.set_status(commit, Status(check.context, check.state, check.title))

    def set_deployment(self, commit: str, environment: str, status: Status) -> None:
        """Its deployments are those of its pipelines."""

    def pulls_with(self, commit: str) -> tuple[Pull, ...]:
        found = self._ask("get", f"{self._at}/repository/commits/{commit}/merge_requests", list[PullAnswer])
        return tuple(map(pull_of, found))

    # comments

    def comments(self, number: int) -> tuple[Comment, ...]:
        where = f"{self._pull(number)}/notes?sort=asc&order_by=created_at&"
        found = pages(partial(self._page, where, list[CommentAnswer]))
        return tuple(Comment(one.id, one.body) for one in found)

    def comment(self, number: int, body: str) -> None:
        self._ask("post", f"{self._pull(number)}/notes", Made, {"body": body})

    def edit_comment(self, number: int, comment: int, body: str, /) -> None:
        self._ask("put", f"{self._pull(number)}/notes/{comment}", Made, {"body": body})

    # merge requests

    def pull(self, number: int) -> Pull:
        return pull_of(self._ask("get", self._pull(number), PullAnswer))

    def pull_from(self, branch: str) -> Pull | None:
        query = f"state=all&order_by=created_at&sort=desc&source_branch={quote(branch, safe='')}"
        found = map(pull_of, self._ask("get", f"{self._at}/merge_requests?{query}", list[PullAnswer]))
        return next((one for one in found if one.branch == branch and not one.fork), None)

    def open_pulls(self, base: str) -> tuple[Pull, ...]:
        query = f"state=opened&order_by=created_at&sort=desc&target_branch={quote(base, safe='')}&"
        found = pages(partial(self._page, f"{self._at}/merge_requests?{query}", list[PullAnswer]))
        return tuple(map(pull_of, found))

    def head_ref(self, pull: Pull) -> str:
        return f"refs/merge-requests/{pull.number}/head"

    def open_pull(self, draft: Draft) -> Pull:
        asked = {
            "source_branch": draft.branch,
            "target_branch": draft.base,
            "title": draft.title,
            "description": draft.body,
            "labels": list(draft.labels),
            "remove_source_branch": True,
        }
        return pull_of(self._ask("post", f"{self._at}/merge_requests", PullAnswer, asked))

    def edit_pull(self, number: int, title: str, body: str, /) -> None:
        self._ask("put", self._pull(number), PullAnswer, {"title": title, "description": body})

    def label_pull(self, number: int, labels: tuple[str, ...], /) -> None:
        self._ask("put", self._pull(number), PullAnswer, {"add_labels": list(labels)})

    def unlabel_pull(self, number: int, labels: tuple[str, ...], /) -> None:
        self._ask("put", self._pull(number), PullAnswer, {"remove_labels": list(labels)})

    def close_pull(self, number: int) -> None:
        self._ask("put", self._pull(number), PullAnswer, {"state_event": "close"})

    def merge_when_ready(self, pull: Pull) -> bool:
        # The older name is for servers before 17.11.
        asked = {"auto_merge": True, "merge_when_pipeline_succeeds": True, "sha": pull.head}
        try:
            self._ask("put", f"{self._pull(pull.number)}/merge", PullAnswer, asked)
        except (Invalid, Denied):  # not mergeable yet, or others must approve it
            return False
        return True

    # people

    def reviews(self, number: int) -> tuple[Review, ...]:
        """Approvals, with the commit that the branch was at then; and reviewers who asked for changes.

        Whether they may write is asked for the first REVIEWERS_MAX; the others count as if they may not.
        """
        where = self._pull(number)
        approved = self._ask("get", f"{where}/approvals", Approvals).approved_by
        against = [
            one.user
            for one in self._ask("get", f"{where}/reviewers?per_page={PAGE}", list[Reviewer])
            if one.state == "requested_changes"
        ]
        if not approved and not against:
            return ()
        versions = self._ask("get", f"{where}/versions?per_page={PAGE}", list[Version])
        writers = {
            one.id
            for one in [*against, *(one.user for one in approved)][:REVIEWERS_MAX]
            if self._may_write(one.id)
        }
        rejected = {one.id for one in against}
        return tuple(
            Review(one.user.username, "approved", head_at(versions, one.approved_at), one.user.id in writers)
            for one in approved
            if one.user.id not in rejected
        ) + tuple(Review(one.username, "rejected", "", one.id in writers) for one in against)

    def members(self, team: str, /) -> frozenset[str]:
        """The members of a group, `@group/subgroup`, those of the groups above it among them."""
        where = f"/groups/{quote(team.removeprefix('@'), safe='')}/members/all?"
        try:
            return frozenset(one.username for one in pages(partial(self._page, where, list[Member])))
        except Invalid:
            raise no_team(self.name, team, f"the scope {SCOPE}") from None

    def _may_write(self, account: int) -> bool:
        try:
            found = self._ask("get", f"{self._at}/members/all/{account}", Member)
        except Invalid:  # no member
            return False
        return found.access_level >= DEVELOPER

    def _pull(self, number: int) -> str:
        return f"{self._at}/merge_requests/{number}"

    def _page(self, where: str, kind: type[list[Any]], page: int) -> list[Any]:
        return self._ask("get", f"{where}per_page={PAGE}&page={page}", kind)
