"""The one door to processes: an argv, a time limit, an environment, and output that is bounded."""

from __future__ import annotations

import os
import pwd
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import IO, Any, Literal

from msgspec import Struct

from reconciler.model.errors import HostError

OUTPUT_BYTES_MAX = 1 << 20
TERM_GRACE_S = 2.0
LINGER_S = 0.2
CHUNK_BYTES = 1 << 16


Keep = Literal["first", "last"]


class Result(Struct, frozen=True):
    """How a command ended. `code` is negative when a signal ended it; `truncated` when output was dropped."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool
    duration_s: float


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    environment: Mapping[str, str],
    directory: Path | None = None,
    stdin: bytes = b"",
    output_bytes_max: int = OUTPUT_BYTES_MAX,
    keep: Keep = "first",
    user: str | None = None,
    pass_fds: Sequence[int] = (),
) -> Result:
    """Run a command in a session of its own, with this environment and no other.

    After `timeout_s` its whole process group gets TERM, and KILL `TERM_GRACE_S` later. Of stdout and of
    stderr the first, or the last, `output_bytes_max` bytes each are kept, the rest is read and dropped.
    `user`: another than our own, with all of its groups. `pass_fds` stay open in it. Raises HostError when the
    command cannot be started; how it ends is the caller's to judge.
    """
    started = time.monotonic()
    with _start(argv, environment, directory, user, pass_fds, with_stdin=bool(stdin)) as process:
        try:
            with closing(_Pump(process, stdin, output_bytes_max, keep)) as pump:
                timed_out = not pump.until_exit(started + timeout_s)
                if timed_out:
                    _signal_group(process, signal.SIGTERM)
                    pump.until_exit(time.monotonic() + TERM_GRACE_S)
                    _signal_group(process, signal.SIGKILL)
                pump.drain(time.monotonic() + LINGER_S)
        except BaseException:
            _signal_group(process, signal.SIGKILL)
            raise
    return Result(
        argv=tuple(argv),
        code=process.returncode,
        stdout=bytes(pump.stdout),
        stderr=bytes(pump.stderr),
        timed_out=timed_out,
        truncated=pump.truncated,
        duration_s=time.monotonic() - started,
    )


def account(user: str) -> pwd.struct_passwd:
    """A user of this machine. Raises HostError when there is none of that name."""
    try:
        return pwd.getpwnam(user)
    except KeyError as error:
        raise HostError(f"there is no user {user} on this machine", "add that user") from error


def _start(
    argv: Sequence[str],
    environment: Mapping[str, str],
    directory: Path | None,
    user: str | None,
    pass_fds: Sequence[int],
    *,
    with_stdin: bool,
) -> subprocess.Popen[bytes]:
    identity: dict[str, Any] = {}
    if user is not None:
        one = account(user)
        groups = os.getgrouplist(one.pw_name, one.pw_gid)
        identity = {"user": one.pw_uid, "group": one.pw_gid, "extra_groups": groups}
    try:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
            pass_fds=pass_fds,
            **identity,
        )
    except (OSError, ValueError) as error:
        raise _not_started(argv[0], directory, user, error) from error


def _not_started(
    name: str, directory: Path | None, user: str | None, error: OSError | ValueError
) -> HostError:
    if directory is not None and not directory.is_dir():
        return HostError(f"{name}: its directory {directory} does not exist", "create it")
    match error:
        case FileNotFoundError():
            return HostError(f"{name}: command not found", "install it, or give its full path")
        case PermissionError() if user is not None:
            remedy = "make it executable for that user, and let the daemon run as root"
            return HostError(f"{name}: no permission to run it as {user}", remedy)
        case PermissionError():
            return HostError(f"{name}: no permission to run it", "make it executable for this user")
        case OSError():
            return HostError(f"{name}: cannot be started: {error.strerror}", "see that it is a program")
        case _:
            return HostError(f"{name!r}: cannot be started: {error}", "remove the NUL from its arguments")


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # Not yet reaped, the leader keeps the group's id from being given to anybody else.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _watching(process: subprocess.Popen[bytes]) -> tuple[int, selectors.BaseSelector]:
    """A descriptor that tells of its end, and what waits for that. Raises HostError where there are none left."""
    with ExitStack() as undone:
        try:
            pidfd = os.pidfd_open(process.pid)
            undone.callback(os.close, pidfd)
            selector = selectors.DefaultSelector()
        except OSError as error:
            text = f"process {process.pid} cannot be watched: {error.strerror}"
            raise HostError(text, "let the daemon have more open files (LimitNOFILE)") from error
        undone.pop_all()
    return pidfd, selector


class _Pump:
    """Feeds stdin, collects stdout and stderr, and sees the process end: one thread, no polling."""

    def __init__(
        self, process: subprocess.Popen[bytes], stdin: bytes, output_bytes_max: int, keep: Keep
    ) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.truncated = False
        self._unsent = memoryview(stdin)
        self._bytes_max = output_bytes_max
        self._keep = keep
        self._exited = False
        self._reading = 0
        self._pidfd, self._selector = _watching(process)
        self._selector.register(self._pidfd, selectors.EVENT_READ, self._see_exit)
        self._watch(process.stdout, selectors.EVENT_READ, lambda stream: self._receive(stream, self.stdout))
        self._watch(process.stderr, selectors.EVENT_READ, lambda stream: self._receive(stream, self.stderr))
        self._watch(process.stdin, selectors.EVENT_WRITE, self._send)

    def close(self) -> None:
        self._selector.close()
        os.close(self._pidfd)

    def until_exit(self, deadline: float) -> bool:
        """Pump until the process has ended; False when the deadline (monotonic) came first."""
        while not self._exited and self._turn(deadline):
            pass
        return self._exited

    def drain(self, deadline: float) -> None:
        """Read what is left. A child that was left running may keep the pipes open: hence the deadline."""
        while self._reading and self._turn(deadline):
            pass

    def _watch(self, stream: IO[bytes] | None, events: int, handle: Callable[[IO[bytes]], None]) -> None:
        if stream is None:
            return
        os.set_blocking(stream.fileno(), False)
        self._selector.register(stream, events, handle)
        self._reading += events == selectors.EVENT_READ

    def _turn(self, deadline: float) -> bool:
        """Handle what is ready by the deadline; False when it has passed."""
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return False
        for key, _ in self._selector.select(left_s):
            key.data(key.fileobj)
        return True

    def _see_exit(self, pidfd: int) -> None:
        self._exited = True
        self._selector.unregister(pidfd)

    def _send(self, stream: IO[bytes]) -> None:
        try:
            self._unsent = self._unsent[os.write(stream.fileno(), self._unsent[:CHUNK_BYTES]) :]
        except BrokenPipeError:
            self._unsent = self._unsent[:0]  # It does not want to read: no error of ours.
        if not self._unsent:
            self._selector.unregister(stream)
            stream.close()

    def _receive(self, stream: IO[bytes], kept: bytearray) -> None:
        data = os.read(stream.fileno(), CHUNK_BYTES)
        if not data:
            self._selector.unregister(stream)
            self._reading -= 1
        kept += data
        surplus = len(kept) - self._bytes_max
        if surplus > 0:
            self.truncated = True
            del kept[slice(surplus) if self._keep == "last" else slice(self._bytes_max, None)]
