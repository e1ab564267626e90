"""What a person at a terminal sees, what a pipe gets, and what is said where no daemon answers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.cli.client import NoDaemon, call
from tests.daemon_process import ORDINARY, DaemonProcess, argv, environ, ugs
from tests.world import World

WAIT_S = 30.0


class Terminal:
    """A verb at a terminal of 160 columns."""

    def __init__(self, *arguments: str | Path) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
        self.process = subprocess.Popen(
            argv(*arguments),
            env=environ({"TERM": "xterm-256color"}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def until(self, condition: Callable[[str], bool]) -> str:
        """Read until what was shown is so, or to the end."""
        end_s = time.monotonic() + WAIT_S
        while not condition(self.shown):
            ready, _, _ = select.select([self._ours], [], [], max(0.0, end_s - time.monotonic()))
            assert ready, self.shown
            try:
                self.shown += os.read(self._ours, 65536).decode()
            except OSError:  # its end, as Linux tells it
                break
        return self.shown

    def close(self) -> int:
        if self.process.poll() is None and not self.shown:
            self.process.kill()
        os.close(self._ours)
        return self.process.wait(WAIT_S)


@contextlib.contextmanager
def terminal(*arguments: str | Path) -> Iterator[Terminal]:
    opened = Terminal(*arguments)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def config(fleet: World, served: DaemonProcess) -> Path:
    return fleet.folder / "ugs.yaml"


def test_a_terminal_gets_a_table_in_colour(config: Path) -> None:
    with terminal("status", "--config", config) as screen:
        shown = screen.until(lambda _: False)
    assert "\x1b[32mhealthy" in shown  # green
    assert "out-of-sync" in shown


def test_a_terminal_is_redrawn_until_ctrl_c(config: Path) -> None:
    with terminal("status", "--watch", "--config", config) as screen:
        screen.until(lambda shown: shown.count("out-of-sync") >= 2)
        screen.process.send_signal(signal.SIGINT)
        screen.until(lambda _: False)
        assert screen.process.wait(WAIT_S) == 1


@pytest.mark.parametrize(
    ("arguments", "number", "code"),
    [((), signal.SIGTERM, -signal.SIGTERM), (("--json",), signal.SIGINT, 1)],
)
def test_a_watched_pipe_prints_again_only_when_something_changed(
    config: Path,
    fleet: World,
    served: DaemonProcess,
    arguments: tuple[str, ...],
    number: signal.Signals,
    code: int,
) -> None:
    with subprocess.Popen(
        argv("status", "--watch", "--config", config, *arguments),
        env=environ({"PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        patience = threading.Timer(WAIT_S, watching.kill)
        patience.start()
        first = served.service("api")["instances"][0]["pid"]
        lines = iter(watching.stdout.readline, "")
        assert "".join(next(lines) for _ in range(3))
        fleet.merge("Nothing that matters")
        tip = fleet.tip()
        assert any(tip[:12] in line for line in lines)
        watching.send_signal(number)
        rest = "".join(lines)
        patience.cancel()
    assert watching.returncode == code
    assert "\x1b" not in rest
    assert served.service("api")["instances"][0]["pid"] == first


def test_where_no_daemon_runs_old_rows_are_never_shown(world: World) -> None:
    config = world.configure()
    for verb in (["status"], ["status", "--watch"], ["explain", "production", "api"], ["sync"]):
        done = ugs(*verb, "--config", config)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"ugs: no daemon runs on {world.state}; start one with `ugs run`\n"


def test_where_no_daemon_has_ever_run_there_is_no_history(world: World) -> None:
    config = world.configure()
    for verb in (["history"], ["audit", "log"], ["audit", "verify"]):
        done = ugs(*verb, "--config", config)
        assert (done.returncode, done.stdout) == (1, "")
        assert "ugs.db is not there; no daemon has run on this state yet" in done.stderr


def test_a_socket_of_somebody_else(config: Path, fleet: World) -> None:
    path = fleet.state / "ugs.sock"
    path.chmod(0)
    try:
        done = ugs("status", "--config", config, prefix=ORDINARY)
    finally:
        path.chmod(0o600)
    assert done.returncode == 1
    assert done.stderr == f"ugs: {path}: not yours to talk to; run this as the daemon's user\n"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno!", b"nonsense\r\n", b""])
def test_something_else_that_listens_on_the_socket(world: World, answer: bytes) -> None:
    config = world.configure()
    world.state.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(world.state / "ugs.sock"))
        listener.listen(1)
        with subprocess.Popen(
            argv("status", "--config", config), env=environ(), stderr=subprocess.PIPE, text=True
        ) as asking:
            caller, _ = listener.accept()
            with caller:
                caller.recv(65536)
                caller.sendall(answer)
            _, told = asking.communicate(timeout=WAIT_S)
    assert asking.returncode == 1
    assert told.startswith("ugs: the daemon did not answer: ")
    assert told.endswith("; look at its log\n")


def test_a_name_that_no_header_can_carry_is_carried_all_the_same(config: Path) -> None:
    assert ugs("sync", "--config", config, environment={"LOGNAME": "\u0436\n"}).returncode == 0


def test_a_user_id_without_a_name_may_ask_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as an arbitrary user."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    with pytest.raises(NoDaemon):
        call(tmp_path, "GET", "/upgrade/status")


@pytest.mark.parametrize(
    "arguments", [["frob"], ["status", "--frob"], ["explain", "production"], ["history", "--limit", "x"]]
)
def test_what_ugs_does_not_know_is_a_usage_error(arguments: list[str]) -> None:
    done = ugs(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: ugs ")
