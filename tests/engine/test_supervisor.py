"""systemd's notify protocol, spoken to a real datagram socket."""

from __future__ import annotations

import asyncio
import logging
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.config import Repository, Settings
from reconciler.engine.supervisor import Supervisor


class RecordingClock:
    """Does not wait, and remembers for how long it was asked to; the third time is the end."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, duration_s: float) -> None:
        self.slept.append(duration_s)
        if len(self.slept) == 3:
            raise asyncio.CancelledError

    async def wait(self, event: asyncio.Event, timeout_s: float) -> bool:
        raise NotImplementedError(event, timeout_s)


def settings(notify_socket: str | None, watchdog_s: float | None = None) -> Settings:
    return Settings(
        Path("ugs.yaml"), Repository("/srv/fleet.git"), notify_socket=notify_socket, watchdog_s=watchdog_s
    )


@pytest.mark.parametrize("abstract", [False, True])
def test_a_message_arrives_on_a_path_and_in_the_abstract_namespace(tmp_path: Path, abstract: bool) -> None:
    address = f"@{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0{address[1:]}" if abstract else address)
        channel.settimeout(5)
        Supervisor(settings(address)).say("READY=1")
        assert channel.recv(100) == b"READY=1"


def test_nobody_to_tell_is_fine(caplog: pytest.LogCaptureFixture) -> None:
    Supervisor(settings(None)).say("READY=1")
    assert not caplog.records


def test_a_supervisor_that_is_gone_is_only_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "ugs"):
        Supervisor(settings(str(tmp_path / "gone"))).say("READY=1")
    assert "could not be told READY=1" in caplog.text


async def test_the_watchdog_is_fed_twice_as_often_as_it_asks(tmp_path: Path) -> None:
    clock = RecordingClock()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(5)
        with pytest.raises(asyncio.CancelledError):
            await Supervisor(settings(str(tmp_path / "notify"), watchdog_s=30.0)).keep_alive(clock)
        assert [channel.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    assert clock.slept == [15.0] * 3


async def test_without_a_watchdog_nothing_is_said(tmp_path: Path) -> None:
    clock = RecordingClock()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.setblocking(False)
        with pytest.raises(asyncio.CancelledError):
            await Supervisor(settings(str(tmp_path / "notify"))).keep_alive(clock)
        with pytest.raises(BlockingIOError):
            channel.recv(100)
