"""Starting one instance: its lock and sockets are taken first, then a shim inherits them and starts it."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

import msgspec

from reconciler.clock import SystemClock
from reconciler.drivers.base import Site
from reconciler.drivers.layout import directory_of, folder_of, keeper_name, log_name
from reconciler.drivers.mark import ROLE_VARIABLE, SHIM_ROLE, VARIABLE, Mark, site_id
from reconciler.drivers.process import shim
from reconciler.drivers.process.sockets import public_socket
from reconciler.drivers.render import expand, instance_values
from reconciler.drivers.started import (
    command_file,
    inherited,
    port_of,
    run_of,
    service_environment,
    told_environment,
)
from reconciler.drivers.trouble import host_trouble
from reconciler.model.codec import resolve_types
from reconciler.model.errors import ArtifactError, HostError, UgsError
from reconciler.model.target import Workload

SHIM_ARGV = (sys.executable, "-I", shim.__file__)
ANSWER_TIMEOUT_S = 30.0
ANSWER_BYTES_MAX = 4096
BACKOFF_S = 1.0
BACKOFF_MAX_S = 60.0
STEADY_S = 60.0
TICK_S = 5.0
LOG_BYTES_MAX = 10 * 1024 * 1024
LOG_FILES_MAX = 3
UNRUNNABLE = (
    errno.ENOENT,
    errno.EACCES,
    errno.ENOEXEC,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.EINVAL,
)
CLOCK = SystemClock()


class Answer(msgspec.Struct, frozen=True):
    """What the shim says: the error that kept the service from starting, if one did."""

    errno: int | None


resolve_types(Answer)


class Held(msgspec.Struct, frozen=True):
    """The lock of an instance, and its public and probe socket where it passes them."""

    lock_fd: int
    sockets: tuple[socket.socket, ...]


@contextmanager
def hold(site: Site, work: Workload, index: int) -> Iterator[Held | None]:
    """Take all that only one shim of the instance may have; None when another one has it.

    Raises HostError, PortTaken among them.
    """
    folder = folder_of(site, work)
    with ExitStack() as held, host_trouble(f"start {work.service} {work.target}"):
        (folder / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_fd = os.open(folder / keeper_name(index, work.target, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        held.callback(os.close, lock_fd)
        try:
            flock(lock_fd, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            yield None
            return
        sockets: tuple[socket.socket, ...] = ()
        port = port_of(work, index)
        if run_of(work).socket == "pass" and port is not None:
            public = held.enter_context(public_socket(folder, index, port))
            sockets = (public, held.enter_context(socket.create_server(("127.0.0.1", 0))))
        yield Held(lock_fd, sockets)


def launch(site: Site, operation: str, work: Workload, index: int, held: Held) -> None:
    """Start a shim with what is held, and see that it started the service.

    Raises ArtifactError for a command that can never run, HostError for the rest.
    """
    folder = folder_of(site, work)
    line = _order(site, operation, work, index, held)
    order = shim.Order(line)
    with host_trouble(f"start {work.service} {work.target}"), (folder / log_name(index)).open("ab") as log:
        process = subprocess.Popen(
            SHIM_ARGV,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env=inherited() | {VARIABLE: order.environment[VARIABLE], ROLE_VARIABLE: SHIM_ROLE},
            pass_fds=(held.lock_fd, *order.socket_fds),
            start_new_session=True,
        )
        answer = _ask_shim(process, line)
    if answer is None:
        raise HostError(
            f"the shim of {work.service} {work.target} gave no answer", f"read {folder / log_name(index)}"
        )
    if answer.errno is not None:
        raise _refusal(work, directory_of(site, work), index, answer.errno)


def _order(site: Site, operation: str, work: Workload, index: int, held: Held) -> bytes:
    """The line that the shim reads: a JSON object with the keys of `shim.Order`."""
    run, directory = run_of(work), directory_of(site, work)
    values = instance_values(work, index, directory, port_of(work, index))
    mark = Mark(site_id(site.state), work.environment, work.service, index, work.target, operation)
    environment = service_environment(site, work, values) | told_environment(work) | {VARIABLE: str(mark)}
    order = {
        "command": [expand(word, values, work) for word in run.command],
        "environment": environment,
        "directory": str(directory),
        "operation": operation,
        "umask": site.umask,
        "log": log_name(index),
        "lock_fd": held.lock_fd,
        "socket_fds": [one.fileno() for one in held.sockets],
        "door": keeper_name(index, work.target, "sock"),
        "stop_grace_s": run.stop_grace_s,
        "backoff_s": BACKOFF_S,
        "backoff_max_s": BACKOFF_MAX_S,
        "steady_s": STEADY_S,
        "tick_s": TICK_S,
        "log_bytes_max": LOG_BYTES_MAX,
        "log_files_max": LOG_FILES_MAX,
    }
    return json.dumps(order).encode() + b"\n"


def _ask_shim(process: subprocess.Popen[bytes], line: bytes) -> Answer | None:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a shim is started with pipes")
    with process.stdout:
        with suppress(BrokenPipeError), process.stdin:  # broken: then there is no answer either
            process.stdin.write(line)
        answer = _answer(process.stdout.fileno())
    if answer is None:  # whatever holds it up: the lock must not stay with it
        process.kill()
    process.wait()
    return answer


def _answer(descriptor: int) -> Answer | None:
    """The shim's one line; None when it ended, or kept silent for too long."""
    line, deadline_s = b"", CLOCK.monotonic() + ANSWER_TIMEOUT_S
    while not line.endswith(b"\n") and len(line) < ANSWER_BYTES_MAX:
        left_s = deadline_s - CLOCK.monotonic()
        if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
            return None
        part = os.read(descriptor, ANSWER_BYTES_MAX)
        if not part:
            return None
        line += part
    return msgspec.json.decode(line, type=Answer)


def _refusal(work: Workload, directory: Path, index: int, number: int) -> UgsError:
    """Whose fault it is that the command does not run: the release's, when it is about a file of its own."""
    path, is_own = command_file(work, directory, index)
    text = (
        f"{work.release.place}: run.command: {run_of(work).command[0]!r} cannot be run: {os.strerror(number)}"
    )
    if number == errno.ENOENT and path is not None and path.is_file():
        return HostError(f"{text}: its interpreter is not on this machine", "install it")
    if is_own and number in UNRUNNABLE:
        return ArtifactError(text, "mend it in a new release")
    return HostError(text, "see to this machine, then try again")
