"""GitHub and GitHub Enterprise, by PyGithub: its connections, its App tokens; what is said is read here, strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
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
)
from reconciler.forge.github.answers import (
    CommentAnswer,
    Made,
    Message,
    PullAnswer,
    Repository,
    pull_of,
    refusal_of,
)
from reconciler.model.errors import HostError

if TYPE_CHECKING:
    from github import Github as Client

T = TypeVar("T")
API = "https://api.github.com"
DESCRIPTION_MAX = 140
REQUESTS_APART_S = 0.25
WRITES_APART_S = 1.0
"""So GitHub asks it of whoever writes."""
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


class App(Struct, frozen=True):
    """A GitHub App. `key` reads its private key, in PEM."""

    id: int
    key: Token


class GitHub:
    """`repository`: owner/name. Either `token` or `app`; both are asked for their secret at each use."""

    name = "GitHub"

    def __init__(
        self, repository: str, *, api: str = API, token: Token | None = None, app: App | None = None
    ) -> None:
        self._repository = repository
        self._at = f"/repos/{quote(repository)}"
        self._api = api.rstrip("/")
        self._token = token
        self._app = app
        self._client: tuple[str, Client] | None = None
        """The secret that it was made with, and the client."""

    def close(self) -> None:
        if self._client is not None:
            self._client[1].close()
            self._client = None

    def check(self) -> None:
        """Ask for the repository, and look at what the token may do: a classic one says it, an App's installation too.

        A fine-grained token says it only when it is refused something.
        """
        try:
            headers, found = self._ask("GET", self._at, Repository)
        except Invalid:
            raise Denied(
                f"GitHub has no {self._repository} that the token may see",
                "check forge.repository, and what the token may read",
            ) from None
        if found.full_name.casefold() != self._repository.casefold():
            raise Denied(
                f"GitHub: {self._repository} has moved to {plain(found.full_name)}",
                "set forge.repository (and repository.url) to where it is now",
            )
        scopes = headers.get("x-oauth-scopes")
        if scopes is not None and scopes.strip():
            given = {scope.strip() for scope in scopes.split(",")}
            if not given & {"repo", *(() if found.private else ("public_repo",))}:
                raise Denied(
                    "GitHub: the token lacks the scope repo",
                    f"give it that scope; it has {plain(scopes)}",
                )
        if self._app is not None:
            given_to = self._guarded(lambda: self._installation(self._secret())[1])
            if lacks := sorted(name for name in NEEDED if given_to.get(name) != "write"):
                raise Denied(
                    f"GitHub: the App may not write {', '.join(lacks)}",
                    f"give App {self._app.id} that permission, and accept it for {self._repository}",
                )

    def set_status(self, commit: str, status: Status) -> None:
        self._ask(
            "POST",
            f"{self._at}/statuses/{commit}",
            Made,
            {
                "state": status.state,
                "context": status.context,
                "description": status.description[:DESCRIPTION_MAX],
            },
        )

    def set_deployment(self, commit: str, environment: str, status: Status) -> None:
        """As GitHub's own pages show it; one deployment for a commit in an environment."""
        where = f"{self._at}/deployments"
        _, known = self._ask(
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
            _, made = self._ask("POST", where, Made, asked)
        shown = {"state": DEPLOYED[status.state], "description": status.description[:DESCRIPTION_MAX]}
        self._ask("POST", f"{where}/{made.id}/statuses", Made, shown)

    def pulls_with(self, commit: str) -> tuple[Pull, ...]:
        _, found = self._ask("GET", f"{self._at}/commits/{commit}/pulls", list[PullAnswer])
        return tuple(pull_of(one) for one in found)

    def comments(self, number: int) -> tuple[Comment, ...]:
        where, found = f"{self._at}/issues/{number}/comments?per_page={PAGE}", list[CommentAnswer]()
        for page in range(1, PAGES_MAX + 1):
            _, more = self._ask("GET", f"{where}&page={page}", list[CommentAnswer])
            found += more
            if len(more) < PAGE:
                break
        return tuple(Comment(one.id, one.body or "") for one in found)

    def comment(self, number: int, body: str) -> None:
        self._ask("POST", f"{self._at}/issues/{number}/comments", Made, {"body": body})

    def edit_comment(self, _number: int, comment: int, body: str, /) -> None:
        self._ask("PATCH", f"{self._at}/issues/comments/{comment}", Made, {"body": body})

    def pull_from(self, branch: str) -> Pull | None:
        owner = self._repository.partition("/")[0]
        query = f"state=all&sort=created&direction=desc&head={quote(f'{owner}:{branch}', safe='')}"
        _, found = self._ask("GET", f"{self._at}/pulls?{query}", list[PullAnswer])
        return next((pull_of(one) for one in found if one.head.ref == branch), None)

    def open_pull(self, draft: Draft) -> Pull:
        asked = {"title": draft.title, "head": draft.branch, "base": draft.base, "body": draft.body}
        _, made = self._ask("POST", f"{self._at}/pulls", PullAnswer, asked)
        if draft.labels:
            self._ask(
                "POST", f"{self._at}/issues/{made.number}/labels", list[Any], {"labels": list(draft.labels)}
            )
        return pull_of(made)

    def close_pull(self, number: int) -> None:
        self._ask("PATCH", f"{self._at}/pulls/{number}", PullAnswer, {"state": "closed"})

    def merge_when_ready(self, pull: Pull) -> bool:
        """GitHub refuses that for what nothing stands in the way of: then it is merged, if it is still the same."""
        _, found = self._ask("GET", f"{self._at}/pulls/{pull.number}", PullAnswer)
        try:
            self._guarded(
                lambda: self._connected().requester.graphql_query(AUTO_MERGE, {"pull": found.node_id})
            )
        except Invalid as refusal:
            if "clean status" not in str(refusal):
                return False
            merge = {"sha": pull.head}
            self._ask("PUT", f"{self._at}/pulls/{pull.number}/merge", Message, merge)
        return True

    # how it is asked

    def _ask(self, method: str, path: str, kind: type[T], body: object = None) -> tuple[Mapping[str, str], T]:
        """The headers, in lower case, and the answer. Raises Unavailable, Denied and Invalid."""
        status, headers, text = self._guarded(
            lambda: self._connected().requester.requestJson(method, path, input=body)
        )
        if not 200 <= status < 300:
            raise refusal_of(status, headers, text)
        try:
            return headers, msgspec.json.decode(text, type=kind, strict=True)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unavailable(f"GitHub answered {status} with what cannot be read ({plain(error)})") from None

    def _guarded(self, call: Callable[[], T]) -> T:
        """What the client raises, as an error with a fate. It never holds a token."""
        import requests
        from github import GithubException

        try:
            return call()
        except GithubException as error:
            text = msgspec.json.encode(error.data).decode() if error.data else ""
            if isinstance(error.data, dict) and "errors" in error.data and "message" not in error.data:
                # GraphQL's way to refuse.
                raise Invalid(f"GitHub refuses: {plain(text)}") from None
            raise refusal_of(error.status, error.headers or {}, text) from None
        except requests.RequestException as error:
            raise Unavailable(f"GitHub cannot be reached: {type(error).__name__}") from None
        except RuntimeError as error:  # it was redirected to another server, and does not follow
            raise Denied(f"GitHub: {plain(error)}", "correct forge.api") from None
        except (ValueError, TypeError) as error:
            raise Unavailable(f"GitHub answered what cannot be read ({type(error).__name__})") from None

    def _secret(self) -> str:
        source = self._token or (self._app.key if self._app else None)
        if source is None:
            raise RuntimeError("neither a token nor an App")
        return source()

    def _connected(self) -> Client:
        """The client; made anew where the secret was changed. It renews an App's token shortly before it ends."""
        try:
            from github import Auth, Github
        except ImportError:
            raise HostError(
                "forge.kind is github, and PyGithub is not installed", "install ugs[github]"
            ) from None
        secret = self._secret()
        if self._client is None or self._client[0] != secret:
            self.close()
            if self._app is None:
                auth: Auth.Auth = Auth.Token(secret)
            else:
                auth = Auth.AppAuth(self._app.id, secret).get_installation_auth(self._installation(secret)[0])
            client = Github(
                auth=auth,
                base_url=self._api,
                timeout=REQUEST_TIMEOUT_S,
                retry=None,  # whoever asks knows whether it can wait
                user_agent="ugs",
                seconds_between_requests=REQUESTS_APART_S,
                seconds_between_writes=WRITES_APART_S,
            )
            self._client = secret, client
        return self._client[1]

    def _installation(self, key: str) -> tuple[int, Mapping[str, str]]:
        """The number of our installation for the repository, and what it may do."""
        from github import Auth, GithubIntegration

        if self._app is None:
            raise RuntimeError("there is no App")
        integration = GithubIntegration(
            auth=Auth.AppAuth(self._app.id, key), base_url=self._api, timeout=REQUEST_TIMEOUT_S, retry=None
        )
        found = integration.get_repo_installation(*self._repository.split("/", 1))
        return found.id, found.permissions
