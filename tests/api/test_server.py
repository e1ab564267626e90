"""The socket itself: whose it is, where it may be, and how it ends."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from reconciler.api import serve
from reconciler.api.server import PATH_BYTES_MAX
from reconciler.model.errors import HostError
from tests.drivers.services import wait_until


async def hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


APPLICATION = Starlette(routes=[Route("/", hello)])


def ask(path: Path) -> bytes:
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.connect(str(path))
        connection.request("GET", "/")
        return connection.getresponse().read()
    finally:
        connection.close()


async def test_only_its_owner_may_connect_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "ugs.sock"
    path.write_text("left behind by a daemon that was killed")
    before = os.umask(0o022)
    try:
        serving = asyncio.create_task(serve(APPLICATION, path))
        await asyncio.to_thread(wait_until, path.is_socket)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await asyncio.to_thread(ask, path) == b"hello"
        assert os.umask(0o022) == 0o022  # as it was
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
    finally:
        os.umask(before)
    assert not path.exists()


async def test_a_path_that_no_socket_can_have_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / ("x" * PATH_BYTES_MAX)
    with pytest.raises(
        HostError, match=r"too long for a socket's path; choose a shorter `state` in ugs\.yaml"
    ):
        await serve(APPLICATION, path)


async def test_a_folder_that_is_not_there_is_the_hosts_trouble(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"ugs\.sock: No such file or directory; see that the state folder"):
        await serve(APPLICATION, tmp_path / "gone/ugs.sock")


async def test_over_a_network_no_answer_waits_for_the_client_to_acknowledge_its_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []
    create = socket.create_server

    def creating(*args: Any, **keywords: Any) -> socket.socket:
        made.append(create(*args, **keywords))
        return made[-1]

    monkeypatch.setattr(socket, "create_server", creating)
    serving = asyncio.create_task(serve(APPLICATION, ("127.0.0.1", 0)))
    await asyncio.to_thread(wait_until, lambda: made)
    assert made[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)  # what is accepted inherits it
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
