"""GitLab, by python-gitlab: its session, its errors; what is said is read here, strictly. Merge requests are pulls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from reconciler.forge.base import (
    PAGE,
    PAGES_MAX,
    REQUEST_TIMEOUT_S,
    Comment,
    Denied,
    Draft,
    Invalid,
    Pull,
    State,
    Status,
    Token,
    Unavailable,
    plain,
    wait_s,
)
from reconciler.model.codec import resolve_types
from reconciler.model.errors import HostError

if TYPE_CHECKING:
    from gitlab import Gitlab as Client
    from requests import Response

T = TypeVar("T")
API = "https://gitlab.com"
SCOPE = "api"
DEVELOPER = 30
DESCRIPTION_MAX = 255
SHOWN: dict[State, str] = {
    "pending": "running",
    "success": "success",
    "failure": "failed",
    "error": "canceled",
}
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


class PullAnswer(Struct, frozen=True):
    iid: int
    web_url: str
    state: str
    source_branch: str
    target_branch: str
    sha: str | None = None


class CommentAnswer(Struct, frozen=True):
    id: int
    body: str


class Made(Struct, frozen=True):
    id: int


resolve_types(Project, TokenAnswer, PullAnswer, CommentAnswer, Made)


class GitLab:
    """`repository`: group/name. `api`: the server's base URL."""

    name = "GitLab"

    def __init__(self, repository: str, *, api: str = API, token: Token) -> None:
        self._repository = repository
        self._at = f"/projects/{quote(repository, safe='')}"
        self._api = api.rstrip("/")
        self._token = token
        self._client: tuple[str, Client] | None = None
        """The token that it was made with, and the client."""

    def close(self) -> None:
        if self._client is not None:
            self._client[1].session.close()
            self._client = None

    def check(self) -> None:
        """Ask for the project, our access to it, and the token's scopes."""
        try:
            found = self._ask("get", self._at, Project)
        except Invalid:
            raise Denied(
                f"GitLab has no {self._repository} that the token may see",
                "check forge.repository, and what the token may read",
            ) from None
        if found.path_with_namespace.casefold() != self._repository.casefold():
            raise Denied(
                f"GitLab: {self._repository} has moved to {plain(found.path_with_namespace)}",
                "set forge.repository (and repository.url) to where it is now",
            )
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

    def set_deployment(self, commit: str, environment: str, status: Status) -> None:
        """Its deployments are those of its pipelines."""

    def pulls_with(self, commit: str) -> tuple[Pull, ...]:
        found = self._ask("get", f"{self._at}/repository/commits/{commit}/merge_requests", list[PullAnswer])
        return tuple(map(_pull, found))

    def comments(self, number: int) -> tuple[Comment, ...]:
        where, found = f"{self._at}/merge_requests/{number}/notes", list[CommentAnswer]()
        for page in range(1, PAGES_MAX + 1):
            query = f"?sort=asc&order_by=created_at&per_page={PAGE}&page={page}"
            more = self._ask("get", f"{where}{query}", list[CommentAnswer])
            found += more
            if len(more) < PAGE:
                break
        return tuple(Comment(one.id, one.body) for one in found)

    def comment(self, number: int, body: str) -> None:
        self._ask("post", f"{self._at}/merge_requests/{number}/notes", Made, {"body": body})

    def edit_comment(self, number: int, comment: int, body: str, /) -> None:
        self._ask("put", f"{self._at}/merge_requests/{number}/notes/{comment}", Made, {"body": body})

    def pull_from(self, branch: str) -> Pull | None:
        query = f"state=all&order_by=created_at&sort=desc&source_branch={quote(branch, safe='')}"
        found = self._ask("get", f"{self._at}/merge_requests?{query}", list[PullAnswer])
        return next((_pull(one) for one in found if one.source_branch == branch), None)

    def open_pull(self, draft: Draft) -> Pull:
        asked = {
            "source_branch": draft.branch,
            "target_branch": draft.base,
            "title": draft.title,
            "description": draft.body,
            "labels": ",".join(draft.labels),
            "remove_source_branch": True,
        }
        return _pull(self._ask("post", f"{self._at}/merge_requests", PullAnswer, asked))

    def close_pull(self, number: int) -> None:
        self._ask("put", f"{self._at}/merge_requests/{number}", PullAnswer, {"state_event": "close"})

    def merge_when_ready(self, pull: Pull) -> bool:
        # The older name is for servers before 17.11.
        asked = {"auto_merge": True, "merge_when_pipeline_succeeds": True, "sha": pull.head}
        try:
            self._ask("put", f"{self._at}/merge_requests/{pull.number}/merge", PullAnswer, asked)
        except (Invalid, Denied):  # not mergeable yet, or others must approve it
            return False
        return True

    def _ask(self, method: str, path: str, kind: type[T], body: dict[str, Any] | None = None) -> T:
        """The answer. Raises Unavailable, Denied and Invalid, none of which holds the token."""
        client = self._connected()
        import requests
        from gitlab.exceptions import GitlabError, RedirectError

        try:
            answer = client.http_request(method, path, post_data=body, obey_rate_limit=False)
        except RedirectError:
            raise Denied("GitLab: the project has moved", "set forge.repository to where it is now") from None
        except GitlabError as error:
            raise _refusal(error.response_code or 0, plain(error.error_message)) from None
        except requests.RequestException as error:
            raise Unavailable(f"GitLab cannot be reached: {type(error).__name__}") from None
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unavailable(
                f"GitLab answered {answer.status_code} with what cannot be read ({plain(error)})"
            ) from None

    def _connected(self) -> Client:
        try:
            import gitlab
            import requests
        except ImportError:
            raise HostError(
                "forge.kind is gitlab, and python-gitlab is not installed", "install ugs[gitlab]"
            ) from None
        secret = self._token()
        if self._client is None or self._client[0] != secret:
            self.close()
            session = requests.Session()
            session.hooks["response"].append(_heed_limit)
            client = gitlab.Gitlab(
                self._api,
                private_token=secret,
                timeout=REQUEST_TIMEOUT_S,
                user_agent="ugs",
                keep_base_url=True,
                session=session,
            )
            self._client = secret, client
        return self._client[1]


def _heed_limit(answer: Response, **_: object) -> None:
    """Raise Unavailable where GitLab asks to wait: what the client raises of it has no headers."""
    if answer.status_code == 429:
        retry_s = wait_s(answer.headers.get("Retry-After"), None, None)
        answer.close()
        raise Unavailable(f"GitLab asks to wait {retry_s:.0f} s", retry_s=retry_s)


def _pull(found: PullAnswer) -> Pull:
    state = STATES.get(found.state, "closed")
    return Pull(found.iid, found.web_url, state, found.source_branch, found.sha or "", found.target_branch)


def _refusal(status: int, words: str) -> Unavailable | Denied | Invalid:
    """What an answer other than success means."""
    if status >= 500 or not words or words.startswith("<"):
        return Unavailable(f"GitLab answered {status}{f': {words}' if words else ''}")
    if status == 401:
        return Denied(f"GitLab does not know the token: {words}", "put a valid one in place of forge.token")
    if status == 403:
        return Denied(f"GitLab refuses: {words}", f"give the token the scope {SCOPE}, and the role Developer")
    return Invalid(f"GitLab refuses ({status}): {words}")
