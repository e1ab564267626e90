"""How Gitea and Forgejo are asked. There is no well-kept client for them, and it takes few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec

from reconciler.forge.base import REQUEST_TIMEOUT_S, Denied, Invalid, Token, Unavailable, plain
from reconciler.forge.gitea.answers import Message
from reconciler.forge.refusals import refusal, unreachable, unreadable

if TYPE_CHECKING:
    from urllib3 import PoolManager

T = TypeVar("T")
BODY_BYTES_MAX = 8 << 20


class Connection:
    """The token is read at each use. `api` ends in /api/v1."""

    def __init__(self, api: str, token: Token) -> None:
        self._api = api.rstrip("/")
        self._token = token
        self._pool: PoolManager | None = None

    def close(self) -> None:
        if self._pool is not None:
            self._pool.clear()

    def ask(self, method: str, path: str, kind: type[T], body: object = None) -> T:
        """The answer. Raises Unavailable, Denied and Invalid, none of which holds the token."""
        from urllib3 import PoolManager, Retry
        from urllib3.exceptions import HTTPError

        if self._pool is None:
            self._pool = PoolManager(maxsize=2)
        try:
            answer = self._pool.request(
                method,
                f"{self._api}{path}",
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
            raise unreachable("Gitea", error) from None
        if not 200 <= answer.status < 300:
            raise refusal_of(answer.status, answer.headers, text)
        try:
            return msgspec.json.decode(text or b"{}", type=kind)
        except (msgspec.MsgspecError, ValueError) as error:
            raise unreadable("Gitea", answer.status, error) from None


def refusal_of(status: int, headers: Mapping[str, str], text: bytes) -> Unavailable | Denied | Invalid:
    """What an answer other than success means. Of a scope that is lacking, the server's words have the name."""
    try:
        words = plain(msgspec.json.decode(text, type=Message).message)
    except (msgspec.MsgspecError, ValueError):
        words = ""
    return refusal("Gitea", status, headers, words)
