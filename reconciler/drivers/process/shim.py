"""The shim: keeps one instance of one service running, whatever becomes of the daemon.

`launch` runs it as a script, with the standard library alone, so that it costs little memory. It inherits the
instance's lock, the sockets to pass on, and the instance's log as stderr; it reads its `Order` as one line of
JSON from stdin, and answers on stdout with {"errno": null}, or why the service could not be started.
"""
# pathlib would cost every shim a megabyte:
# ruff: noqa: PTH101, PTH105, PTH108, PTH123

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import socket
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:  # at run time the module `typing` would cost another megabyte
    from typing import NoReturn

COPY_BYTES = 1024 * 1024
HAND_OVER_S = 2.0
FIRM_S = 5.0
POLL_S = 0.02
PASSED_FROM = 3
PASSED_NAMES = "public:probe"
OUT_OF_THE_WAY = 16


class Order:
    """What to keep running; relative names stand in the service's folder, the working directory."""

    command: list[str]
    environment: dict[str, str]
    directory: str
    operation: str
    umask: int | None
    log: str
    lock_fd: int
    socket_fds: list[int]
    door: str
    stop_grace_s: float
    backoff_s: float
    backoff_max_s: float
    steady_s: float
    tick_s: float
    log_bytes_max: int
    log_files_max: int

    def __init__(self, line: bytes) -> None:
        self.__dict__.update(json.loads(line))


class Keeper:
    """One instance: its lock, its sockets, its process."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.child = 0
        self.child_started_s = 0.0
        self.exits = 0
        self.last_exit = ""
        self.delay_s = order.backoff_s
        self.start_at_s = 0.0
        self.sockets = [socket.socket(fileno=number) for number in order.socket_fds]
        self.door: socket.socket | None = None
        for number in (order.lock_fd, *order.socket_fds):
            os.set_inheritable(number, False)
        # From here on SIGTERM stops the service; before, it ended the shim, which had nothing to stop.
        self.wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for caught in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(caught, lambda *_: None)

    def record(self) -> None:
        """Write into the lock file who keeps this instance and how it fares."""
        values = {
            "operation": self.order.operation,
            "boot_id": read_text("/proc/sys/kernel/random/boot_id").strip(),
            "pid": os.getpid(),
            "started_ticks": int(read_text("/proc/self/stat").rpartition(")")[2].split()[19]),
            "stop_grace_s": self.order.stop_grace_s,
            "probe_port": self.sockets[1].getsockname()[1] if self.sockets else None,
            "exits": self.exits,
            "last_exit": self.last_exit,
        }
        length = os.pwrite(self.order.lock_fd, json.dumps(values).encode(), 0)
        os.ftruncate(self.order.lock_fd, length)

    def open_door(self) -> None:
        """Where the next release's launch comes for the public socket."""
        with suppress(FileNotFoundError):  # left by a shim that was killed; the lock says it is not in use
            os.unlink(self.order.door)
        self.door = socket.socket(socket.AF_UNIX)
        self.door.bind(self.order.door)
        os.chmod(self.order.door, 0o600)
        self.door.listen()

    def start(self) -> OSError | None:
        """Start the service in a session of its own; return why it could not be."""
        status, status_writer = os.pipe2(os.O_CLOEXEC)
        try:
            self.child = os.fork()
            if self.child == 0:
                self.become(status_writer)
        except OSError as error:
            os.close(status)
            return error
        finally:
            os.close(status_writer)
        self.child_started_s = time.monotonic()
        refusal = os.read(status, 64)
        os.close(status)
        if not refusal:
            return None
        os.waitpid(self.child, 0)
        self.child = 0
        return OSError(int(refusal), os.strerror(int(refusal)))

    def become(self, status: int) -> NoReturn:
        """In the child: turn into the service, or say why not through `status`."""
        number = errno.EINVAL
        try:
            signal.set_wakeup_fd(-1)
            for caught in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(caught, signal.SIG_DFL)
            os.setsid()
            if self.order.umask is not None:
                os.umask(self.order.umask)
            os.chdir(self.order.directory)
            environment = dict(self.order.environment)
            status = fcntl.fcntl(status, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)
            moved = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) for one in self.sockets]
            for place, descriptor in enumerate(moved, PASSED_FROM):
                os.dup2(descriptor, place)
            if moved:
                environment["LISTEN_PID"] = str(os.getpid())
                environment["LISTEN_FDS"] = str(len(moved))
                environment["LISTEN_FDNAMES"] = PASSED_NAMES
            os.dup2(2, 1)
            os.execvpe(self.order.command[0], self.order.command, environment)  # noqa: S606  argv is a value
        except OSError as error:
            number = error.errno or number
        finally:  # also after a ValueError: a NUL in an argument
            os.write(status, str(number).encode())
            os._exit(127)

    def keep(self) -> None:
        """Until SIGTERM: start again what exits, rotate the log, hand on the public socket."""
        watched = [self.wakeup, self.door.fileno()] if self.door is not None else [self.wakeup]
        while True:
            due_s = self.order.tick_s if self.child else self.start_at_s - time.monotonic()
            ready = select.select(watched, [], [], max(0.0, min(due_s, self.order.tick_s)))[0]
            if self.wakeup in ready and signal.SIGTERM in os.read(self.wakeup, 512):
                return
            if self.door is not None and self.door.fileno() in ready:
                hand_over(self.door, self.sockets[0])
            self.reap()
            if not self.child and time.monotonic() >= self.start_at_s and (refusal := self.start()):
                self.note_exit(f"could not be started: {refusal.strerror}")
            rotate(self.order.log, self.order.log_bytes_max, self.order.log_files_max)

    def reap(self) -> None:
        if not self.child:
            return
        pid, status = os.waitpid(self.child, os.WNOHANG)
        if pid:
            self.child = 0
            code = os.waitstatus_to_exitcode(status)
            self.note_exit(
                f"ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
            )

    def note_exit(self, what: str) -> None:
        """Decide when to start again: later each time, until it has run steadily once."""
        now_s = time.monotonic()
        if now_s - self.child_started_s >= self.order.steady_s:
            self.delay_s = self.order.backoff_s
        self.exits += 1
        self.last_exit = what
        self.start_at_s = now_s + self.delay_s
        say(f"{what}; starts again in {self.delay_s:g} s")
        self.delay_s = min(self.delay_s * 2, self.order.backoff_max_s)
        with suppress(OSError):  # a full disk must not end what keeps the service running
            self.record()

    def stop(self) -> None:
        """End the service's process group: politely, then firmly."""
        if self.child:
            signal_group(self.child, signal.SIGTERM)
            if not self.gone_within(self.order.stop_grace_s):
                signal_group(self.child, signal.SIGKILL)
                self.gone_within(FIRM_S)
        with suppress(FileNotFoundError):
            os.unlink(self.order.door)

    def gone_within(self, patience_s: float) -> bool:
        """Whether nothing is left of the service's process group by then."""
        end_s = time.monotonic() + patience_s
        while signal_group(self.child, 0):
            if time.monotonic() >= end_s:
                return False
            with suppress(ChildProcessError):  # the leader was reaped already; others outlive it
                os.waitpid(self.child, os.WNOHANG)
            time.sleep(POLL_S)
        return True


def signal_group(group: int, number: int) -> bool:
    """False when nothing is left of the group. Number 0 only asks."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def hand_over(door: socket.socket, public: socket.socket) -> None:
    """Give the public socket to whoever came: the door is in a folder that is ours alone."""
    with suppress(OSError):  # it may have left again
        visitor, _ = door.accept()
        with visitor:
            visitor.settimeout(HAND_OVER_S)
            socket.send_fds(visitor, [b"public"], [public.fileno()])


def rotate(log: str, bytes_max: int, files_max: int) -> None:
    """Copy the log, then truncate it: the service keeps writing to the descriptor that it has."""
    if os.fstat(2).st_size < bytes_max:
        return
    names = [log, *(f"{log}.{number}" for number in range(1, files_max))]
    try:
        for newer, older in zip(names[-2:0:-1], names[:1:-1], strict=True):
            with suppress(FileNotFoundError):
                os.replace(newer, older)
        with open(names[0], "rb") as reader, open(names[1], "wb") as writer:
            while os.sendfile(writer.fileno(), reader.fileno(), None, COPY_BYTES):
                pass
    except OSError as error:  # a full disk: rather lose old lines than fill it further
        say(f"could not keep the old log: {error.strerror}")
    os.ftruncate(2, 0)


def say(text: str) -> None:
    """Into the service's log, where people look first."""
    with suppress(OSError):
        os.write(2, f"[ugs] {text}\n".encode())


def answer(refusal: OSError | None) -> None:
    """To the daemon; it may have died, and then nobody needs the answer."""
    with suppress(OSError):
        os.write(1, json.dumps({"errno": refusal.errno if refusal else None}).encode() + b"\n")


def read_text(path: str) -> str:
    with open(path) as file:
        return file.read()


def main() -> None:
    if os.fork():  # the daemon's own child ends at once, so that the shim leaves no zombie to it
        os._exit(0)
    with open(0, "rb", closefd=False) as orders:
        line = orders.readline()
    if not line.endswith(b"\n"):  # the daemon died before it had said what to start
        return
    silence = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(silence, 0)
    keeper = Keeper(Order(line))
    try:
        keeper.record()
        os.fsync(keeper.order.lock_fd)
        refusal = keeper.start()
        if refusal is None and keeper.sockets:
            keeper.open_door()
    except OSError as error:
        refusal = error
    answer(refusal)
    os.dup2(silence, 1)
    if refusal is None:
        keeper.keep()
    keeper.stop()


if __name__ == "__main__":
    main()
