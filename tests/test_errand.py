"""A command that is carried to its end: its outcome, its output, and what becomes of it without a daemon."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reconciler import errand
from reconciler.errand import Order, Outcome, StillRunning
from reconciler.model.errors import HostError
from tests.drivers.services import wait_until

# It says that it runs, and goes on until it may end.
WAITER = """
import os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
with (folder / "begun").open("a") as file:
    file.write(f"{os.getpid()}\\n")
while not (folder / "end").exists():
    time.sleep(0.01)
print("ended by itself")
"""


def order(*argv: str, folder: Path = Path("/"), **fields: Any) -> Order:
    return Order(argv, {"PATH": os.environ["PATH"]}, str(folder), fields.pop("timeout_s", 20.0), **fields)


def waiter(folder: Path, **fields: Any) -> Order:
    return order(sys.executable, "-ISc", WAITER, str(folder), **fields)


def carried(folder: Path, wanted: Order, *, anew: bool = True) -> Outcome:
    return errand.carry_out(folder, "op.step", wanted, anew=anew, leave=lambda: False)


def begun(folder: Path) -> list[int]:
    """The pid of every process that `WAITER` was started as."""
    file = folder / "begun"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Path]:
    """A folder in which a waiter runs that the daemon has left."""
    with pytest.raises(StillRunning):
        errand.carry_out(
            tmp_path, "op.step", waiter(tmp_path), anew=True, leave=lambda: bool(begun(tmp_path))
        )
    yield tmp_path
    (tmp_path / "end").touch()
    for pid in begun(tmp_path):
        wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists())  # type: ignore[misc]  # bound now


def test_how_it_ends_and_what_it_writes_is_told(tmp_path: Path) -> None:
    script = "import os, sys; print(os.getcwd()); sys.exit('no')"
    outcome = carried(tmp_path, order(sys.executable, "-ISc", script, folder=tmp_path))
    assert outcome == Outcome(1, f"{tmp_path}\nno")
    assert carried(tmp_path, order("true"), anew=False) == outcome
    errand.forget(tmp_path, "op.step")
    assert carried(tmp_path, order("true"), anew=False) == Outcome(0)


def test_a_time_limit_ends_it(tmp_path: Path) -> None:
    outcome = carried(tmp_path, waiter(tmp_path, timeout_s=0.3))
    assert (outcome.timed_out, outcome.output) == (True, "")


def test_what_cannot_be_started_is_this_machines_trouble(tmp_path: Path) -> None:
    outcome = carried(tmp_path, order("no-such-program"))
    assert (outcome.code, outcome.refusal) == (None, "no-such-program: command not found")
    assert (
        carried(tmp_path, order("true", user="nobody-here")).refusal
        == "there is no user nobody-here on this machine"
    )


def test_it_runs_as_another_user_where_the_daemon_may(tmp_path: Path) -> None:
    outcome = carried(tmp_path, order("id", "-un", user="nobody"))
    told = outcome.output or outcome.refusal
    assert told == ("nobody" if os.geteuid() == 0 else "id: no permission to run it as nobody")


@pytest.mark.fault("CR-03")
def test_one_that_a_daemon_left_is_waited_for_and_never_run_a_second_time(left: Path) -> None:
    threading.Timer(0.2, (left / "end").touch).start()
    assert carried(left, waiter(left), anew=False) == Outcome(0, "ended by itself")
    assert len(begun(left)) == 1


@pytest.mark.fault("CR-03")
def test_another_command_waits_until_it_has_ended(left: Path) -> None:
    threading.Timer(0.2, (left / "end").touch).start()
    [pid] = begun(left)
    outcome = carried(left, order("test", "!", "-e", f"/proc/{pid}"))
    assert outcome == Outcome(0)


def test_one_whose_runner_was_killed_is_waited_for_and_its_end_is_not_known(left: Path) -> None:
    [pid] = begun(left)
    [runner] = [holder for holder in errand._holders(left / "lock") if holder != pid]
    os.kill(runner, 9)
    threading.Timer(0.2, (left / "end").touch).start()
    assert carried(left, waiter(left), anew=False) == Outcome()
    assert len(begun(left)) == 1


def is_dead(pid: int) -> bool:
    """Gone, or waiting for whoever inherited it to look: not everywhere does somebody do so at once."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(") ")[2].startswith("Z")


def test_what_outlasts_its_time_limit_is_killed_before_anything_else_runs(
    left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errand, "MARGIN_S", 0.0)
    assert carried(left, order("true", timeout_s=0.3)) == Outcome(0)
    [pid] = begun(left)
    assert is_dead(pid)


def test_what_does_not_even_die_is_told(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errand, "MARGIN_S", 0.0)
    monkeypatch.setattr(errand, "KILL_TIMEOUT_S", 0.0)
    monkeypatch.setattr(os, "kill", lambda _pid, _number: None)
    outcome = carried(left, order("true", timeout_s=0.1))
    assert "not even when killed" in outcome.refusal
    assert str(begun(left)[0]) in outcome.refusal
    with pytest.raises(HostError, match="not even when killed"):
        carried(left, order("true", timeout_s=0.1), anew=False)


def test_half_an_order_is_no_order() -> None:
    errand.serve(b'{"order": {')


def test_the_runner_writes_that_it_has_begun_before_the_command_does_anything(tmp_path: Path) -> None:
    result = tmp_path / "op.json"
    wanted = order("cat", str(result))
    with (tmp_path / "lock").open("w") as lock:
        instruction = errand._Instruction(wanted, str(result), lock.fileno())
        errand.serve(msgspec.json.encode(instruction) + b"\n")
    assert msgspec.json.decode(result.read_bytes(), type=Outcome) == Outcome(0, "{}")
    instruction = errand._Instruction(order("no-such-program"), str(result), 2)
    errand.serve(msgspec.json.encode(instruction) + b"\n")
    assert "command not found" in result.read_text()


@pytest.mark.fault("RT-11")
def test_a_secret_is_hidden_even_where_the_output_was_cut_in_the_middle_of_it() -> None:
    assert (
        errand.readable(b"a hunter2 b\xff\x1b[0m", ("hunter2", "hunter", "it"), cut=False)
        == "a [secret] b��[0m"
    )
    assert (
        errand.readable(b"nter2 and hunter2, then all is well", ("hunter2",), cut=True)
        == "nd [secret], then all is well"
    )


def test_a_result_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "op.step.json").write_text("{")
    assert carried(tmp_path, order("true"), anew=False) == Outcome()


@pytest.mark.parametrize("runner", ["gone", "/bin/true"])
def test_a_runner_that_does_nothing_has_begun_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: str
) -> None:
    monkeypatch.setattr(errand, "RUNNER", (runner,))
    outcome = carried(tmp_path, order("true"))
    assert (outcome.code, bool(outcome.refusal), bool(outcome.remedy)) == (None, True, True)


def test_a_folder_that_cannot_be_had_is_this_machines_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in carried(tmp_path / "file/folder", order("true")).refusal
    errand.forget(tmp_path / "file", "op.step")


def test_a_wait_that_breaks_off_says_nothing_about_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_result: Path) -> Outcome:
        raise OSError("too many open files")

    monkeypatch.setattr(errand, "_read", unreadable)
    with pytest.raises(HostError, match="too many open files"):
        carried(tmp_path, order("true"))
