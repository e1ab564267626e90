"""HTTP probes against real servers on this machine."""

from __future__ import annotations

import asyncio
import gzip
import time
from pathlib import Path

import pytest
from msgspec import structs

from reconciler.model.release import Probe
from reconciler.probes import BODY_BYTES_MAX, probe, session
from tests.probing import HEALTHZ, IMPATIENT_S, NOW, VERSION, answer, ask, free_port, serving, told


async def test_a_sample_names_its_probe_its_time_and_its_latency() -> None:
    ticks = iter([10.0, 10.25])
    async with serving(answer("ok")) as server:
        outcome = await ask(HEALTHZ, port=server.port, monotonic=lambda: next(ticks))
    assert told(outcome) == ("healthy", False, "answers status 200")
    assert outcome.instance == 2
    assert outcome.sample.probe == "http://127.0.0.1:{port}/healthz"
    assert (outcome.sample.at, outcome.sample.latency_s) == (NOW, 0.25)


@pytest.mark.fault("RT-04")
async def test_the_expected_version_is_healthy_and_the_old_one_a_failure() -> None:
    async with serving(answer('{"version": "1.5.0"}'), answer('{"version": "1.4.0"}')) as server:
        assert told(await ask(VERSION, port=server.port)) == ("healthy", False, "answers version '1.5.0'")
        old = await ask(VERSION, port=server.port)
    assert told(old) == ("failed", False, "answers version '1.4.0', expected '1.5.0'")


async def test_503_is_silence_until_the_service_is_up() -> None:
    async with serving(answer("", "503 Service Unavailable"), answer("ok")) as server:
        starting = await ask(HEALTHZ, port=server.port)
        assert told(starting) == ("failed", True, "answers status 503, expected 200")
        assert (await ask(HEALTHZ, port=server.port)).sample.verdict == "healthy"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ('{"version": 1.5}', "answers version 1.5, expected '1.5.0'"),
        ('{"version": ["1.5.0"]}', "answers version ['1.5.0'], expected '1.5.0'"),
        ("{}", "answers no 'version', expected '1.5.0'"),
        ('["1.5.0"]', "answers no JSON object: b'[\"1.5.0\"]'"),
        ("1.5.0", "answers no JSON: b'1.5.0'"),
        ("", "answers no JSON: b''"),
        (b'{"version": "\xff"}', 'answers no JSON: b\'{"version": "\\xff"}\''),
    ],
)
async def test_wrong_json_is_a_failure(body: str | bytes, detail: str) -> None:
    async with serving(answer(body)) as server:
        assert told(await ask(VERSION, port=server.port)) == ("failed", False, detail)


async def test_json_too_deep_to_read_is_a_failure() -> None:
    async with serving(answer("[" * 60_000)) as server:
        outcome = await ask(VERSION, port=server.port)
    assert outcome.sample.verdict == "failed"
    assert outcome.sample.detail.startswith("answers no JSON: b'")


async def test_true_is_not_one_but_one_is_one_point_zero() -> None:
    ready = Probe(http="http://127.0.0.1:{port}/", expect_json={"ready": 1})
    async with serving(answer('{"ready": true}'), answer('{"ready": 1.0}')) as server:
        assert told(await ask(ready, port=server.port)) == ("failed", False, "answers ready True, expected 1")
        assert (await ask(ready, port=server.port)).sample.verdict == "healthy"


async def test_another_status_may_be_expected() -> None:
    teapot = structs.replace(HEALTHZ, expect_status=418)
    async with serving(answer("", "418 I'm a teapot"), answer("", "500 Oops")) as server:
        assert (await ask(teapot, port=server.port)).sample.verdict == "healthy"
        assert told(await ask(teapot, port=server.port)) == (
            "failed",
            False,
            "answers status 500, expected 418",
        )


@pytest.mark.fault("RT-05")
async def test_a_redirect_is_not_followed() -> None:
    away = answer("", "302 Found", Location="http://169.254.169.254/latest/meta-data")
    async with serving(away) as server:
        assert told(await ask(HEALTHZ, port=server.port)) == (
            "failed",
            False,
            "answers status 302, expected 200",
        )
        assert len(server.requests) == 1


@pytest.mark.fault("RT-05")
@pytest.mark.parametrize(
    "answers",
    [
        answer("{", length=str(1 << 30)),
        answer(" " * (BODY_BYTES_MAX + 1)),
        b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (BODY_BYTES_MAX + 1),
    ],
    ids=["claims 1 GiB", "sends more", "sends more without saying so"],
)
async def test_a_body_that_is_too_large_is_not_read(answers: bytes) -> None:
    async with serving(answers) as server:
        outcome = await ask(VERSION, port=server.port)
    assert told(outcome) == ("failed", False, f"answers more than {BODY_BYTES_MAX} bytes")


async def test_a_large_body_that_nobody_asked_about_does_not_matter() -> None:
    async with serving(answer("{", length=str(1 << 30))) as server:
        assert (await ask(HEALTHZ, port=server.port)).sample.verdict == "healthy"


@pytest.mark.fault("RT-05")
async def test_a_gzip_bomb_stays_packed() -> None:
    bomb = gzip.compress(b" " * (8 << 20) + b'{"version": "1.5.0"}')
    async with serving(answer(bomb, Content_Encoding="gzip")) as server:
        outcome = await ask(VERSION, port=server.port)
        assert "Accept-Encoding: identity" in server.requests[0]
    assert outcome.sample.verdict == "failed"
    assert outcome.sample.detail.startswith("answers no JSON: b'")


@pytest.mark.fault("RT-01")
@pytest.mark.parametrize(
    "first", [b"", b"HTTP/1.1 200", answer("{", length="100")], ids=["hang", "head", "body"]
)
async def test_an_answer_that_does_not_end_is_silence(first: bytes) -> None:
    async with serving(first, hang=True) as server:
        outcome = await ask(structs.replace(VERSION, timeout_s=IMPATIENT_S), port=server.port)
    assert told(outcome) == ("failed", True, "no answer within 0.2 s")


async def test_hanging_up_before_an_answer_is_silence() -> None:
    async with serving(b"") as server:
        outcome = await ask(HEALTHZ, port=server.port)
    assert told(outcome) == ("failed", True, "closed the connection without an answer")


async def test_hanging_up_within_an_answer_is_a_failure() -> None:
    async with serving(answer("{", length="100")) as server:
        outcome = await ask(VERSION, port=server.port)
    assert (outcome.sample.verdict, outcome.silent) == ("failed", False)
    assert outcome.sample.detail.startswith("broke off its answer")


async def test_what_is_not_http_is_a_failure() -> None:
    async with serving(b"SSH-2.0-OpenSSH_9.2\r\n\r\n") as server:
        outcome = await ask(HEALTHZ, port=server.port)
    assert (outcome.sample.verdict, outcome.silent) == ("failed", False)
    assert outcome.sample.detail.startswith("does not answer in HTTP")


async def test_https_against_plain_http_is_a_failure() -> None:
    async with await asyncio.start_server(blurt, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        outcome = await ask(Probe(http="https://127.0.0.1:{port}/"), port=port)
    assert (outcome.sample.verdict, outcome.silent) == ("failed", False)
    assert outcome.sample.detail.startswith("TLS does not work")


async def blurt(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    writer.close()


async def test_each_probe_reaches_the_service_anew_without_cookies_or_proxies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with serving(answer("ok", Set_Cookie="seen=1", Connection="keep-alive"), hang=True) as server:
        async with session() as client:
            for _ in range(2):
                outcome = await probe(
                    client,
                    HEALTHZ,
                    instance=0,
                    values={"port": str(server.port)},
                    directory=Path("/"),
                    environment={},
                    secrets=(),
                    now=lambda: NOW,
                    monotonic=time.monotonic,
                )
                assert outcome.sample.verdict == "healthy"
        assert len(server.requests) == 2
        assert "cookie" not in server.requests[1].lower()
