"""Asking a Prometheus one question: a query with one number as its answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

import aiohttp
import msgspec
from msgspec import Struct

from reconciler.model.codec import resolve_types

ANSWER_BYTES_MAX = 64 << 10
DETAIL_CHARS_MAX = 200


class Answer(Struct, frozen=True):
    """`value`: None where there is none, and `detail` says why. `reached`: Prometheus itself has answered."""

    value: float | None
    detail: str = ""
    reached: bool = True


class _Series(Struct):
    value: tuple[float, str]


class _Data(Struct):
    resultType: str  # noqa: N815  # the API's own word
    result: list[msgspec.Raw]


class _Reply(Struct):
    status: str
    data: _Data | None = None
    error: str = ""


resolve_types(_Series, _Reply)


async def ask(
    client: aiohttp.ClientSession, url: str, query: str, *, token: str | None, timeout_s: float
) -> Answer:
    """What the Prometheus at `url` says now. Never raises for what it, or the network, does."""
    headers: Mapping[str, str] = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            asyncio.timeout(timeout_s),
            client.post(
                f"{url}/api/v1/query",
                data={"query": query},
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(),
            ) as response,
        ):
            body = await response.content.read(ANSWER_BYTES_MAX + 1)
            while len(body) <= ANSWER_BYTES_MAX and (more := await response.content.read(ANSWER_BYTES_MAX)):
                body += more
            status = response.status
    except TimeoutError:
        return Answer(None, f"Prometheus did not answer within {timeout_s:g} s", reached=False)
    except (OSError, aiohttp.ClientError) as error:
        return Answer(None, f"Prometheus cannot be asked: {error}"[:DETAIL_CHARS_MAX], reached=False)
    return read(status, body)


def read(status: int, body: bytes) -> Answer:
    """One number, or why there is none."""
    if len(body) > ANSWER_BYTES_MAX:
        return Answer(None, f"Prometheus answers more than {ANSWER_BYTES_MAX} bytes")
    try:
        reply = msgspec.json.decode(body, type=_Reply)
    except (ValueError, RecursionError):
        return Answer(None, f"Prometheus answers status {status} and no JSON of its API", reached=False)
    if reply.status != "success" or reply.data is None:
        return Answer(None, f"Prometheus refuses the query: {reply.error}"[:DETAIL_CHARS_MAX])
    try:
        return _number(reply.data)
    except (ValueError, IndexError, msgspec.MsgspecError):
        return Answer(None, "Prometheus answers with what is no number")


def _number(data: _Data) -> Answer:
    if data.resultType == "scalar":
        text = msgspec.json.decode(data.result[1], type=str)
    elif data.resultType != "vector":
        return Answer(None, f"the query gives a {data.resultType}; it must give one number")
    elif not data.result:
        return Answer(None, "Prometheus has no data for it")
    elif len(data.result) > 1:
        return Answer(None, f"the query gives {len(data.result)} series; aggregate them into one")
    else:
        text = msgspec.json.decode(data.result[0], type=_Series).value[1]
    value = float(text)
    return Answer(value) if math.isfinite(value) else Answer(None, f"Prometheus answers {text}")
