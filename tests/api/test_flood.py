"""A flood of webhooks and two hundred slow clients at once: whoever asks for the daemon's health does not notice."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.daemon_process import DaemonProcess, daemon
from tests.world import a_world

SLOW = 200
FLOODING = 10
ASKED = 30
ROUNDS = 5
MEDIAN_S_MAX = 0.1
FORGED = (
    b"POST /webhook/github HTTP/1.1\r\nHost: ugs\r\nX-GitHub-Event: push\r\nX-Hub-Signature-256: sha256="
    + b"0" * 64
    + b"\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[DaemonProcess]:
    with a_world(tmp_path_factory.mktemp("flood")) as world:
        secret = world.folder / "secret"
        secret.write_text("It's a secret")
        secret.chmod(0o600)
        world.settings_more = (
            f'listen: "127.0.0.1:{port}"\nwebhooks: {{github: {{secret: {{file: "{secret}"}}}}}}\n'
        )
        world.deploy_first("1.0.0")
        with daemon(world) as running:
            running.until_runs("1.0.0")
            yield running


async def slow(port: int) -> asyncio.StreamWriter:
    """A client that has begun to ask, and does not go on."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /upgrade/status HTTP/1.1\r\nHost: u")
    return writer


async def flooding(port: int) -> None:
    """One forged delivery after the other, on one connection after the other."""
    while True:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while True:
                    writer.write(FORGED)
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
                    await reader.readexactly(int(length))
            finally:
                writer.close()


async def health_s(port: int) -> float:
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health/check HTTP/1.1\r\nHost: ugs\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    return time.perf_counter() - began


async def test_the_health_is_told_at_once_all_the_same(served: DaemonProcess, port: int) -> None:
    medians = []
    for _ in range(ROUNDS):  # other tests may have this machine for a while
        writers = [await slow(port) for _ in range(SLOW)]
        floods = [asyncio.create_task(flooding(port)) for _ in range(FLOODING)]
        await asyncio.sleep(0)
        medians.append(statistics.median([await health_s(port) for _ in range(ASKED)]))
        for flood in floods:
            flood.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
        for writer in writers:
            writer.close()
        if medians[-1] < MEDIAN_S_MAX:
            break
    assert min(medians) < MEDIAN_S_MAX, medians
    assert "Traceback" not in served.log()
