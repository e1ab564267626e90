"""How GitLab is asked: python-gitlab's session and its errors; what is said is read here, strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from reconciler.forge.base import REQUEST_TIMEOUT_S, Token, plain
from reconciler.forge.gitlab.answers import refusal_of
from reconciler.forge.refusals import unreachable, unreadable
from reconciler.model.errors import HostError

if TYPE_CHECKING:
    from gitlab import Gitlab as Client
    from requests import Response

T = TypeVar("T")


class Connection:
    """The token is read at each use."""

    def __init__(self, api: str, token: Token) -> None:
        self._api = api.rstrip("/")
        self._token = token
        self._client: tuple[str, Client] | None = None
        """The token that it was made with, and the client."""

    def close(self) -> None:
        if self._client is not None:
            self._client[1].session.close()
            self._client = None

    def ask(self, method: str, path: str, kind: type[T], body: dict[str, Any] | None = None) -> T:
        """The answer. Raises Unavailable, Denied and Invalid, none of which holds the token."""
        client = self._connected()
        import requests
        from gitlab.exceptions import GitlabError

        try:
            answer = client.http_request(method, path, post_data=body, obey_rate_limit=False)
        except GitlabError as error:
            raise refusal_of(error.response_code or 0, plain(error.error_message)) from None
        except requests.RequestException as error:
            raise unreachable("GitLab", error) from None
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except (msgspec.MsgspecError, ValueError) as error:
            raise unreadable("GitLab", answer.status_code, error) from None

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
            session.hooks["response"].append(_heed)
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


def _heed(answer: Response, **_: object) -> None:
    """Raise what the client would make nothing of: how long GitLab asks to wait, which it keeps to itself, and a
    redirect, which it would follow with the token to wherever that leads."""
    code = answer.status_code
    if code == 429 or 300 <= code < 400 or (code >= 500 and "retry-after" in answer.headers):
        answer.close()
        raise refusal_of(code, "", answer.headers)
