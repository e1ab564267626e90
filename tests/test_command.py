"""The one door to processes: what comes out, what is bounded, and what is left behind (nothing)."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from reconciler import command
from reconciler.command import run
from reconciler.model.errors import HostError

PATH = {"PATH": os.environ["PATH"]}


def shell(script: str, *, timeout_s: float = 20.0, output_bytes_max: int = 1 << 20) -> command.Result:
    return run(("sh", "-c", script), timeout_s=timeout_s, environment=PATH, output_bytes_max=output_bytes_max)


def eventually(condition: Callable[[], bool], *, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


def gone(pid: int) -> bool:
    """Whether the process has ended: nobody may have waited for it yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in {"Z", "X"}


def test_output_and_exit_code_come_back_apart() -> None:
    result = shell("echo out; echo err >&2; exit 3")
    assert (result.code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    assert result.argv == ("sh", "-c", "echo out; echo err >&2; exit 3")
    assert not result.timed_out
    assert not result.truncated
    assert 0 < result.duration_s < 20


def test_a_command_sees_the_given_environment_and_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "ours")
    result = run(("env",), timeout_s=20, environment={**PATH, "GIVEN": "theirs"})
    names = {line.partition("=")[0] for line in result.stdout.decode().splitlines()}
    assert "GIVEN" in names
    assert "CANARY" not in names


def test_a_command_runs_in_its_folder_and_in_a_session_of_its_own(tmp_path: Path) -> None:
    script = "import os; print(os.getcwd(), os.getsid(0) == os.getpid())"
    result = run((sys.executable, "-c", script), timeout_s=20, environment=PATH, directory=tmp_path)
    assert result.stdout.decode().split() == [str(tmp_path), "True"]


def test_much_input_and_much_output_at_once_do_not_block_each_other() -> None:
    data = os.urandom(1 << 20)
    result = run(("cat",), timeout_s=20, environment=PATH, stdin=data, output_bytes_max=2 << 20)
    assert result.stdout == data
    assert not result.truncated


def test_a_command_that_does_not_read_its_input_is_no_error() -> None:
    assert run(("true",), timeout_s=20, environment=PATH, stdin=b"x" * (1 << 20)).code == 0


def test_output_beyond_the_cap_is_dropped_and_said_so() -> None:
    result = shell("head -c 3000000 /dev/zero; echo tail >&2", output_bytes_max=1000)
    assert (result.code, len(result.stdout), result.stderr) == (0, 1000, b"tail\n")
    assert result.truncated


def test_endless_output_ends_with_the_time_limit() -> None:
    result = shell("yes", timeout_s=0.3, output_bytes_max=1000)
    assert result.timed_out
    assert len(result.stdout) == 1000
    assert result.duration_s < 10


def test_the_time_limit_ends_the_whole_group(tmp_path: Path) -> None:
    result = shell("sleep 600 & echo $!; wait", timeout_s=0.3)
    assert result.timed_out
    assert result.code == -signal.SIGTERM
    assert eventually(lambda: gone(int(result.stdout)))


def test_what_ignores_a_polite_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "TERM_GRACE_S", 0.1)
    result = shell("trap '' TERM; echo $$; while :; do sleep 600; done", timeout_s=0.3)
    assert result.timed_out
    assert result.code == -signal.SIGKILL
    assert gone(int(result.stdout))


def test_a_child_left_behind_does_not_hold_the_caller_back() -> None:
    result = shell("sleep 600 & echo $!")
    os.kill(int(result.stdout), signal.SIGKILL)
    assert result.code == 0
    assert not result.timed_out
    assert result.duration_s < 10


def test_an_interrupted_call_leaves_no_process(tmp_path: Path) -> None:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        # Its input arrives only once we are past starting it: the signal meets us while we wait.
        script = f"echo $$ > {tmp_path}/pid; read _; kill -USR1 $PPID; exec sleep 600"
        with pytest.raises(KeyboardInterrupt):
            run(("sh", "-c", script), timeout_s=20, environment=PATH, stdin=b"go\n")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_missing_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no-such-command: command not found; install it"):
        run(("no-such-command",), timeout_s=1, environment=PATH)


def test_a_command_is_looked_for_in_the_given_path_only(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="sh: command not found"):
        run(("sh",), timeout_s=1, environment={"PATH": str(tmp_path)})


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"true: its directory .*/nowhere does not exist; create it"):
        run(("true",), timeout_s=1, environment=PATH, directory=tmp_path / "nowhere")


def test_a_file_without_permission_or_sense_is_named(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x00\x01\x02")
    with pytest.raises(HostError, match="no permission to run it; make it executable"):
        run((str(program),), timeout_s=1, environment=PATH)
    program.chmod(0o755)
    with pytest.raises(HostError, match="cannot be started: Exec format error"):
        run((str(program),), timeout_s=1, environment=PATH)


def test_a_nul_in_an_argument_is_an_error_of_ours() -> None:
    with pytest.raises(HostError, match="embedded null byte"):
        run(("echo", "a\0b"), timeout_s=1, environment=PATH)


def test_of_long_output_the_end_may_be_kept() -> None:
    argv = ("sh", "-c", "yes | head -c 100000; echo end")
    result = run(argv, timeout_s=20.0, environment=PATH, output_bytes_max=10, keep="last")
    assert (result.stdout, result.truncated) == (b"y\ny\ny\nend\n", True)


@pytest.mark.fault("OP-04")
def test_what_cannot_be_watched_for_want_of_descriptors_is_ended_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []

    def none_left(pid: int) -> int:
        started.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", none_left)
    with pytest.raises(HostError, match="cannot be watched: Too many open files; let the daemon have"):
        run(("sleep", "60"), timeout_s=30, environment=PATH)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)
