"""What the tests of probes share: small real servers, and one way to ask."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from reconciler.model.release import Probe
from reconciler.model.verdict import Outcome
from reconciler.probes import probe, session

NOW = datetime(2026, 11, 5, 12, tzinfo=UTC)
ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C"}
VERSION = Probe(http="http://127.0.0.1:{port}/version", expect_json={"version": "{version}"})
HEALTHZ = Probe(http="http://127.0.0.1:{port}/healthz")
IMPATIENT_S = 0.2


def answer(body: str | bytes, status: str = "200 OK", **headers: str) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {headers.pop('length', str(len(data)))}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


class Server:
    """Gives each connection the next of its answers (the last again and again), then closes or hangs."""

    def __init__(self, answers: tuple[bytes, ...], *, hang: bool) -> None:
        self.answers, self.hang = answers, hang
        self.requests: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request.decode())
            writer.write(self.answers[min(len(self.requests), len(self.answers)) - 1])
            await writer.drain()
            if self.hang:
                await reader.read()  # Until the client has gone.
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(*answers: bytes, hang: bool = False) -> AsyncIterator[Server]:
    server = Server(answers, hang=hang)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


async def ask(
    spec: Probe,
    *,
    port: int = 0,
    directory: Path = Path("/"),
    environment: Mapping[str, str] = ENVIRONMENT,
    secrets: Collection[str] = (),
    monotonic: Callable[[], float] = time.monotonic,
) -> Outcome:
    async with session() as client:
        return await probe(
            client,
            spec,
            instance=2,
            values={"port": str(port), "version": "1.5.0"},
            directory=directory,
            environment=environment,
            secrets=secrets,
            now=lambda: NOW,
            monotonic=monotonic,
        )


def told(outcome: Outcome) -> tuple[str, bool, str]:
    return outcome.sample.verdict, outcome.silent, outcome.sample.detail


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port
