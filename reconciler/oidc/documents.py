"""JSON over HTTPS, bounded in size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from reconciler.model.errors import TransientError

T = TypeVar("T")
BODY_BYTES_MAX = 512 << 10
ANSWER_S = 5.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
SEE_TO_IT = "see to the provider, and to `oidc` in ugs.yaml"


class Refused(TransientError):
    """The provider answers, and refuses. `error`: the code that it gives, as OAuth has it."""

    def __init__(self, message: str, error: str) -> None:
        super().__init__(message, SEE_TO_IT)
        self.error = error


class Refusal(msgspec.Struct, frozen=True):
    error: str = ""


def safe(url: str) -> bool:
    """Whether nobody between here and there can read or change what goes: https, or this very machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


async def get(url: str, kind: type[T], headers: Mapping[str, str] = {}) -> T:
    """What is there. Raises TransientError."""
    return await _said("GET", url, kind, headers, None)


async def post(url: str, kind: type[T], form: Mapping[str, str], headers: Mapping[str, str] = {}) -> T:
    """What is answered to a form. Raises TransientError, and Refused with a code of OAuth's."""
    return await _said("POST", url, kind, headers, form)


async def _said(
    method: str, url: str, kind: type[T], headers: Mapping[str, str], form: Mapping[str, str] | None
) -> T:
    import aiohttp

    if not safe(url):
        raise TransientError(f"{url[:200]} is no https URL", SEE_TO_IT)
    try:
        async with (
            asyncio.timeout(ANSWER_S),
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(
                method,
                url,
                data=form,
                headers={"Accept": "application/json", **headers},
                allow_redirects=False,
            ) as response,
        ):
            status, body = response.status, bytearray()
            async for chunk in response.content.iter_chunked(16 << 10):
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise TransientError(f"{url} answers more than {BODY_BYTES_MAX} bytes", SEE_TO_IT)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        raise TransientError(f"{url} cannot be reached: {error or 'no answer'}", SEE_TO_IT) from error
    if status != 200:
        raise _refused(url, status, bytes(body))
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise TransientError(f"{url} answers what is not to be read: {error}", SEE_TO_IT) from error


def _refused(url: str, status: int, body: bytes) -> TransientError:
    try:
        code = msgspec.json.decode(body, type=Refusal).error[:100]
    except (msgspec.MsgspecError, RecursionError):
        code = ""
    return Refused(f"{url} answers {status} {code}".rstrip(), code if 400 <= status < 500 else "")
