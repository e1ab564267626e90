"""Probes over TCP and by command, and what they have in common with those over HTTP."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time
from pathlib import Path

import pytest

from reconciler.model.release import Probe
from reconciler.probes import DETAIL_LENGTH_MAX, fill, one_line, probe, session
from tests.probing import ENVIRONMENT, HEALTHZ, IMPATIENT_S, NOW, answer, ask, free_port, serving, told


async def test_a_port_that_accepts_is_healthy() -> None:
    async with serving(b"", hang=True) as server:
        outcome = await ask(Probe(tcp="127.0.0.1:{port}"), port=server.port)
    assert told(outcome) == ("healthy", False, "accepts connections")


async def test_refused_is_silence() -> None:
    assert told(await ask(HEALTHZ, port=free_port())) == ("failed", True, "connection refused")
    assert told(await ask(Probe(tcp="127.0.0.1:{port}"), port=free_port())) == (
        "failed",
        True,
        "connection refused",
    )


async def test_names_are_resolved() -> None:
    async with serving(answer("ok")) as server:
        assert (await ask(Probe(tcp="localhost:{port}"), port=server.port)).sample.verdict == "healthy"
        assert (
            await ask(Probe(http="http://localhost:{port}/"), port=server.port)
        ).sample.verdict == "healthy"


@pytest.mark.parametrize(
    "spec",
    [
        Probe(tcp="nowhere"),
        Probe(tcp="127.0.0.1:99999"),
        Probe(tcp="127.0.0.1:{prot}"),
        Probe(http="ftp://127.0.0.1/"),
        Probe(http="/healthz"),
        Probe(http="http://127.0.0.1:99999/"),
        Probe(http="http://127.0.0.1:{prot}/"),
        Probe(),
    ],
    ids=str,
)
async def test_an_address_that_is_none_proves_nothing(spec: Probe) -> None:
    outcome = await ask(spec)
    assert (outcome.sample.verdict, outcome.silent) == ("unknown", False)
    assert outcome.sample.detail.startswith("cannot probe")


NAMED = [
    Probe(tcp="api.example:80", timeout_s=IMPATIENT_S),
    Probe(http="http://api.example/", timeout_s=IMPATIENT_S),
]


@pytest.mark.parametrize("spec", NAMED, ids=["tcp", "http"])
async def test_a_name_that_does_not_resolve_proves_nothing(
    spec: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_such_name(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_such_name)
    outcome = await ask(spec)
    assert outcome.sample.verdict == "unknown"
    assert outcome.sample.detail.startswith("api.example does not resolve")


@pytest.mark.parametrize("spec", NAMED, ids=["tcp", "http"])
async def test_name_resolution_that_hangs_proves_nothing(
    spec: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_args: object, **_kwargs: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hang)
    assert told(await ask(spec)) == ("unknown", False, "api.example did not resolve within 0.2 s")


@pytest.mark.parametrize("spec", NAMED, ids=["tcp", "http"])
async def test_a_name_that_resolves_only_once_proves_nothing(
    spec: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []

    async def once(*args: object, **_kwargs: object) -> list[object]:
        calls.append(args)
        if len(calls) == 1:
            return []
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", once)
    outcome = await ask(spec)
    assert outcome.sample.verdict == "unknown"
    assert outcome.sample.detail.startswith("does not resolve")


@pytest.mark.parametrize(
    "spec", [Probe(tcp="255.255.255.255:80"), Probe(http="http://255.255.255.255/")], ids=["tcp", "http"]
)
async def test_no_route_proves_nothing(spec: Probe) -> None:
    outcome = await ask(spec)
    assert (outcome.sample.verdict, outcome.silent) == ("unknown", False)


@pytest.mark.parametrize("spec", [Probe(tcp="127.0.0.1:{port}"), HEALTHZ], ids=["tcp", "http"])
async def test_running_out_of_descriptors_ourselves_proves_nothing(spec: Probe) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(answer("ok")) as server, session() as client:
        next_free = os.dup(0)
        os.close(next_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (next_free, limits[1]))
        try:
            outcome = await probe(
                client,
                spec,
                instance=0,
                values={"port": str(server.port)},
                directory=Path("/"),
                environment={},
                secrets=(),
                now=lambda: NOW,
                monotonic=time.monotonic,
            )
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert told(outcome) == ("unknown", False, "too many open files")


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


async def test_a_command_is_the_releases_own_and_runs_in_its_directory(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "selftest", 'test "$1" = 1.5.0 && test "$MODE" = probe && test -x bin/selftest')
    spec = Probe(command=("bin/selftest", "{version}"), timeout_s=20.0)
    environment = ENVIRONMENT | {"MODE": "probe"}
    assert told(await ask(spec, directory=tmp_path, environment=environment)) == (
        "healthy",
        False,
        "exit code 0",
    )
    assert (await ask(spec, directory=tmp_path)).sample.verdict == "failed"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("exit 3", "exit code 3"),
        ("echo first; echo last; exit 1", "exit code 1: last"),
        ("echo out; echo worse >&2; exit 1", "exit code 1: worse"),
        ("kill -9 $$", "exit code -9"),
    ],
)
async def test_a_command_that_fails_says_its_last_line(tmp_path: Path, text: str, detail: str) -> None:
    script(tmp_path / "selftest", text)
    outcome = await ask(Probe(command=("./selftest",), timeout_s=20.0), directory=tmp_path)
    assert told(outcome) == ("failed", False, detail)


async def test_a_command_that_hangs_is_silence(tmp_path: Path) -> None:
    outcome = await ask(Probe(command=("sleep", "60"), timeout_s=IMPATIENT_S), directory=tmp_path)
    assert told(outcome) == ("failed", True, "no result within 0.2 s")


async def test_a_command_that_cannot_start_proves_nothing(tmp_path: Path) -> None:
    outcome = await ask(Probe(command=("bin/absent",)), directory=tmp_path)
    assert (outcome.sample.verdict, outcome.silent) == ("unknown", False)
    assert "command not found" in outcome.sample.detail


def test_fill_replaces_what_it_knows_and_nothing_else() -> None:
    values = {"port": "80", "version": "{port}"}
    assert (
        fill("{port}/{version}/{other}/{}/{{port}}/${port}/{PORT}", values)
        == "80/{port}/{other}/{}/{80}/$80/{PORT}"
    )


def test_details_are_one_printable_line_of_bounded_length() -> None:
    assert one_line(" a\n\tb\x1b[31m\u202ec ") == "a b [31m c"
    assert one_line("x" * 10_000) == "x" * (DETAIL_LENGTH_MAX - 1) + "…"
