"""How the forges are asked for which there is no well-kept client: JSON over HTTP, and few words of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from reconciler.forge.base import REQUEST_TIMEOUT_S, Token, plain
from reconciler.forge.refusals import refusal, unreachable, unreadable

if TYPE_CHECKING:
    from urllib3 import PoolManager

T = TypeVar("T")
BODY_BYTES_MAX = 8 << 20


class Connection:
    """The token is read at each use. `scheme`: what stands before it in `Authorization`. `words`: what a refusal says;
    it may raise MsgspecError."""

    def __init__(
        self, forge: str, api: str, token: Token, *, scheme: str, words: Callable[[bytes], str]
    ) -> None:
        self._forge = forge
        self._api = api.rstrip("/")
        self._token = token
        self._scheme = scheme
        self._words = words
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
                    "Authorization": f"{self._scheme} {self._token()}",
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
            raise unreachable(self._forge, error) from None
        if not 200 <= answer.status < 300:
            raise refusal(self._forge, answer.status, answer.headers, self._said(text))
        try:
            return msgspec.json.decode(text or b"{}", type=kind)
        except (msgspec.MsgspecError, ValueError) as error:
            raise unreadable(self._forge, answer.status, error) from None

    def _said(self, text: bytes) -> str:
        """Of a scope that is lacking, the server's words have the name."""
        try:
            return plain(self._words(text))
        except (msgspec.MsgspecError, ValueError):
            return ""
