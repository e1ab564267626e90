"""What a Prometheus may answer to a query, and what becomes of it: one number, or a reason why there is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.probes import session
from reconciler.prometheus import ANSWER_BYTES_MAX, Answer, ask, read
from tests.probing import answer, free_port, serving
from tests.prometheus_server import prometheus_server


def success(kind: str, result: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


def series(value: str) -> dict[str, Any]:
    return {"metric": {"job": "api"}, "value": [1762300800.1, value]}


READ: list[tuple[bytes, float | None, str]] = [
    (success("vector", [series("0.25")]), 0.25, ""),
    (success("scalar", [1762300800.1, "3"]), 3.0, ""),
    (success("vector", []), None, "Prometheus has no data for it"),
    (
        success("vector", [series("1"), series("2")]),
        None,
        "the query gives 2 series; aggregate them into one",
    ),
    (success("vector", [series("NaN")]), None, "Prometheus answers NaN"),
    (success("vector", [series("+Inf")]), None, "Prometheus answers +Inf"),
    (success("matrix", []), None, "the query gives a matrix; it must give one number"),
    (success("vector", [series("many")]), None, "Prometheus answers with what is no number"),
    (success("vector", ["x"]), None, "Prometheus answers with what is no number"),
    (success("scalar", [1, 2]), None, "Prometheus answers with what is no number"),
    (success("scalar", []), None, "Prometheus answers with what is no number"),
    (b'{"status": "error", "error": "parse error"}', None, "Prometheus refuses the query: parse error"),
]


@pytest.mark.parametrize(("body", "value", "detail"), READ)
def test_one_number_or_why_there_is_none(body: bytes, value: float | None, detail: str) -> None:
    assert read(200, body) == Answer(value, detail)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"[" * 60_000, b"\xff"])
def test_what_is_no_prometheus_was_not_reached(body: bytes) -> None:
    found = read(502, body)
    assert (found.value, found.reached) == (None, False)
    assert "status 502" in found.detail


@given(
    st.binary()
    | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_nothing_that_is_answered_raises(body: bytes) -> None:
    assert read(200, body).value is None


async def asked(url: str, *, timeout_s: float = 30.0) -> Answer:
    async with session() as client:
        return await ask(client, url, "up", token=None, timeout_s=timeout_s)


async def test_the_query_and_the_token_arrive() -> None:
    with prometheus_server() as server:
        server.say = {"a + b{c='ä'}": 1.5}.get
        async with session() as client:
            found = await ask(client, server.url.rstrip("/"), "a + b{c='ä'}", token="t", timeout_s=30)
        assert found == Answer(1.5)
        assert server.tokens == {"Bearer t"}
        server.say = lambda _query: "parse error: unexpected b"
        found = await asked(server.url.rstrip("/"))
        assert found == Answer(None, "Prometheus refuses the query: parse error: unexpected b")


async def test_what_hangs_is_gone_or_never_ends_is_no_answer() -> None:
    gone = await asked(f"http://127.0.0.1:{free_port()}")
    assert (gone.value, gone.reached) == (None, False)
    async with serving(answer("x", length="9"), hang=True) as server:
        slow = await asked(f"http://127.0.0.1:{server.port}", timeout_s=0.2)
    assert slow == Answer(None, "Prometheus did not answer within 0.2 s", reached=False)
    async with serving(answer(b" " * (ANSWER_BYTES_MAX + 1))) as server:
        large = await asked(f"http://127.0.0.1:{server.port}")
    assert large.detail == f"Prometheus answers more than {ANSWER_BYTES_MAX} bytes"


async def test_it_leads_nowhere_else() -> None:
    async with serving(answer(success("vector", [series("1")]))) as other:
        target = f"http://127.0.0.1:{other.port}/"
        async with serving(answer("", "307 Temporary Redirect", location=target)) as server:
            found = await asked(f"http://127.0.0.1:{server.port}")
    assert found.value is None
    assert other.requests == []
