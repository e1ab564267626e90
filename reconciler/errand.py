"""An errand: one command that is carried to its end, whatever becomes of the daemon meanwhile.

A runner, a process of its own, starts the command, minds its time limit, and writes how it ended into a file. It and
all that it starts hold a lock; the daemon, or the next one, waits until the lock is free. So a command of a daemon
that was killed is found again, is never run a second time beside itself, and its outcome is not lost.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from reconciler import command
from reconciler.model.codec import resolve_types
from reconciler.model.errors import HostError, UgsError
from reconciler.model.redaction import redacted, spellings

OUTPUT_BYTES_MAX = 64 << 10
MARGIN_S = 10.0
"""What a command gets beyond its time limit before the lock is cleared by force."""
KILL_TIMEOUT_S = 10.0
POLL_S = 0.02
RUNNER = (sys.executable, "-P", "-m", "reconciler.errand")
PACKAGE = Path(__file__).parent.parent


class StillRunning(UgsError):
    """It was left to run, for the daemon ends; the next daemon waits for it."""


class Order(Struct, frozen=True):
    """What to run, and what must not be seen in its output.

    `request`: what it reads on stdin; what it writes to stdout is then its answer. `keeps_lock`: all that it starts
    counts as a part of it, and holds the lock too.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]
    directory: str
    timeout_s: float
    user: str | None = None
    secrets: tuple[str, ...] = ()
    umask: int | None = None
    request: str | None = None
    keeps_lock: bool = True


class Outcome(Struct, frozen=True, omit_defaults=True):
    """How an errand ended. `refusal`: why it could not even be started, which is this machine's trouble.

    `code` is None where it was cut short: begun, over, and nobody saw its end. `output` is the end of what it wrote:
    at most 64 KiB of text, without the secrets that it was given. `answer`: of that what it wrote to stdout, where
    it was given a request.
    """

    code: int | None = None
    output: str = ""
    timed_out: bool = False
    refusal: str = ""
    remedy: str = ""
    answer: str = ""


class _Instruction(Struct, frozen=True):
    """What the runner reads: a line of JSON."""

    order: Order
    result: str
    lock_fd: int


resolve_types(Outcome)


def carry_out(folder: Path, name: str, order: Order, *, anew: bool, leave: Callable[[], bool]) -> Outcome:
    """Run it, and wait for its end. Without `anew` one of that name that has begun is only waited for.

    One errand at a time in a folder. Raises StillRunning as soon as `leave` says so, HostError when it may be under
    way and cannot be waited for.
    """
    result, patience_s = folder / f"{name}.json", order.timeout_s + MARGIN_S
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(folder, patience_s, leave) as lock_fd:
            if anew:
                result.unlink(missing_ok=True)
            if not result.exists():
                _start(_Instruction(order, str(result), lock_fd))
    except (OSError, HostError) as error:
        trouble = _trouble(error)
        if not anew:  # the one that has begun may be under way
            raise trouble from error
        return Outcome(refusal=trouble.message, remedy=trouble.remedy)
    try:
        with _alone(folder, patience_s, leave):
            return _read(result)
    except OSError as error:
        raise _trouble(error) from error


def _trouble(error: OSError | HostError) -> HostError:
    if isinstance(error, HostError):
        return error
    return HostError(f"a command cannot be run or waited for: {error}", "see to this machine, then try again")


def forget(folder: Path, name: str) -> None:
    """Once its outcome is on record elsewhere."""
    with suppress(OSError):  # then it stays, and the next one of that name begins anew all the same
        (folder / f"{name}.json").unlink()


def serve(line: bytes) -> None:
    """The runner's whole life: the line it was given, the command, the outcome."""
    if not line.endswith(b"\n"):  # the daemon died before it had said what to run
        return
    instruction = msgspec.json.decode(line, type=_Instruction)
    order, result = instruction.order, Path(instruction.result)
    _write(result, Outcome())
    if order.umask is not None:
        os.umask(order.umask)
    try:
        ended = command.run(
            order.argv,
            timeout_s=order.timeout_s,
            environment=order.environment,
            directory=Path(order.directory),
            stdin=(order.request or "").encode(),
            output_bytes_max=OUTPUT_BYTES_MAX + _longest(order.secrets),
            keep="last",
            user=order.user,
            pass_fds=(instruction.lock_fd,) if order.keeps_lock else (),
        )
    except HostError as error:
        _write(result, Outcome(refusal=error.message, remedy=error.remedy))
        return
    stdout, stderr = (
        readable(stream, order.secrets, cut=ended.truncated) for stream in (ended.stdout, ended.stderr)
    )
    output = "\n".join(filter(None, (stdout, stderr)))[-OUTPUT_BYTES_MAX:]
    answer = "" if order.request is None else stdout[-OUTPUT_BYTES_MAX:]
    _write(result, Outcome(ended.code, output, ended.timed_out, answer=answer))


def readable(data: bytes, secrets: Sequence[str], *, cut: bool) -> str:
    """What a command wrote as text that is safe to show: no secrets, no control characters.

    `cut`: its beginning was dropped, so that the end of a secret may stand there; as much as one's length goes too.
    """
    text = redacted(data.decode(errors="replace"), secrets)
    if cut:
        text = text[_longest(secrets) :]
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "�" for sign in text).strip()


def _longest(secrets: Sequence[str]) -> int:
    """The bytes of the longest way to write one of them."""
    return max((len(form.encode()) for form in spellings(secrets)), default=0)


def _start(instruction: _Instruction) -> None:
    """A runner in a session of its own, which the lock goes with."""
    runner = subprocess.Popen(
        RUNNER,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PYTHONPATH": str(PACKAGE), "PATH": os.defpath},
        pass_fds=(instruction.lock_fd,),
        start_new_session=True,
    )
    if runner.stdin is not None:
        with suppress(BrokenPipeError), runner.stdin as channel:  # broken: it has no outcome then
            channel.write(msgspec.json.encode(instruction) + b"\n")
    runner.wait()


@contextmanager
def _alone(folder: Path, patience_s: float, leave: Callable[[], bool]) -> Iterator[int]:
    """The folder's lock, once whoever has it ends; after `patience_s` they are killed."""
    path = folder / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        begun_s = time.monotonic()
        while not _taken(descriptor):
            waited_s = time.monotonic() - begun_s
            if leave():
                raise StillRunning("a command runs on", "the next daemon waits for it")
            if waited_s > patience_s + KILL_TIMEOUT_S:
                pids = ", ".join(map(str, _holders(path)))
                raise HostError(
                    f"a command does not end, not even when killed: {pids}", "look what it waits for"
                )
            if waited_s > patience_s:
                for pid in _holders(path):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holders(path: Path) -> list[int]:
    """Every other process that has the file open."""
    wanted, found = str(path.resolve()), list[int]()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):  # gone meanwhile, or another user's
                if any(str(link.readlink()) == wanted for link in (folder / "fd").iterdir()):
                    found.append(int(folder.name))
    return found


def _read(result: Path) -> Outcome:
    try:
        return msgspec.json.decode(result.read_bytes(), type=Outcome)
    except FileNotFoundError:
        return Outcome(
            refusal="a command could not be begun", remedy="see that the state folder can be written"
        )
    except msgspec.MsgspecError:
        return Outcome()


def _write(result: Path, outcome: Outcome) -> None:
    """As a whole or not at all, and still there after a power cut."""
    unfinished = result.with_suffix(".part")
    with unfinished.open("wb") as file:
        file.write(msgspec.json.encode(outcome))
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(result)
    folder = os.open(result.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


if __name__ == "__main__":
    if os.fork():  # the daemon's own child ends at once, so that the runner leaves no zombie to it
        os._exit(0)
    serve(sys.stdin.buffer.readline())
