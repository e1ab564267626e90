"""How GitHub is asked: PyGithub's connections and App tokens; what is said is read here, strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct

from reconciler.forge.base import REQUEST_TIMEOUT_S, Denied, Invalid, Token, plain
from reconciler.forge.github.answers import refusal_of
from reconciler.forge.refusals import unreachable, unreadable
from reconciler.model.errors import HostError

if TYPE_CHECKING:
    from github import Github as Client

T = TypeVar("T")
REQUESTS_APART_S = 0.25
WRITES_APART_S = 1.0
"""So GitHub asks it of whoever writes."""
INSTALLATION = "ghs_"
"""What the token of an App's installation begins with, that of a workflow too."""


class App(Struct, frozen=True):
    """A GitHub App. `key` reads its private key, in PEM."""

    id: int
    key: Token


class Connection:
    """Either `token` or `app`; both are asked for their secret at each use."""

    def __init__(self, repository: str, api: str, token: Token | None, app: App | None) -> None:
        self._repository = repository
        self._api = api.rstrip("/")
        self._token = token
        self._app = app
        self._client: tuple[str, Client] | None = None
        """The secret that it was made with, and the client."""

    def close(self) -> None:
        if self._client is not None:
            self._client[1].close()
            self._client = None

    def ask(self, method: str, path: str, kind: type[T], body: object = None) -> T:
        """The answer. Raises Unavailable, Denied and Invalid."""
        return self.headed(method, path, kind, body)[1]

    def headed(
        self, method: str, path: str, kind: type[T], body: object = None
    ) -> tuple[Mapping[str, str], T]:
        """The headers, in lower case, and the answer."""
        status, headers, text = self._guarded(
            lambda: self._connected().requester.requestJson(method, path, input=body)
        )
        if not 200 <= status < 300:
            raise refusal_of(status, headers, text)
        try:
            return headers, msgspec.json.decode(text, type=kind, strict=True)
        except (msgspec.MsgspecError, ValueError) as error:
            raise unreadable("GitHub", status, error) from None

    def mutate(self, mutation: str, variables: dict[str, str]) -> None:
        """Ask by GraphQL. Raises Invalid where it refuses."""
        self._guarded(lambda: self._connected().requester.graphql_query(mutation, variables))

    def permissions(self) -> Mapping[str, str]:
        """What the App may do in this repository."""
        return self._guarded(lambda: self._installation(self._secret())[1])

    def is_app(self) -> bool:
        """Whether an App speaks, whichever way it got its token."""
        return self._app is not None or self._secret().startswith(INSTALLATION)

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
            raise unreachable("GitHub", error) from None
        except RuntimeError as error:  # it was redirected to another server, and does not follow
            raise Denied(f"GitHub: {plain(error)}", "correct forge.api") from None
        except (ValueError, TypeError) as error:
            raise unreadable("GitHub", 200, TypeError(type(error).__name__)) from None

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
