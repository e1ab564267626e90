"""What runs on this machine, as /proc says: processes with our mark, and who listens where."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from reconciler.drivers.mark import ROLE_VARIABLE, SHIM_ROLE, VARIABLE, Mark
from reconciler.drivers.trouble import as_host_error, host_trouble

PROC = Path("/proc")
LISTENING = "0A"
PASSED_OVER = frozenset({errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM})
"""What has gone meanwhile, is not there, or is another user's."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Process(Struct, frozen=True):
    """One process of ours. `started_ticks` counts from boot: with the pid it names a process for good."""

    pid: int
    parent: int
    session: int
    started_ticks: int
    mark: Mark
    is_shim: bool

    @property
    def leads_session(self) -> bool:
        return self.pid == self.session


class Listener(Struct, frozen=True):
    """A listening TCP socket. `address` is the kernel's hex text of the address alone."""

    address: str
    inode: str

    @property
    def on_loopback(self) -> bool:
        """Whether a connection to 127.0.0.1 or ::1 can end here: bound to it, or to every address."""
        last_word = self.address[-8:]
        return set(self.address) == {"0"} or last_word.endswith("7F") or last_word == "01000000"


class Stat(Struct, frozen=True):
    parent: int
    session: int
    started_ticks: int


def processes(site: str, names: Collection[str], service: str | None = None) -> list[Process]:
    """Every live process of the site's environment (or of one service there), shims among them, oldest first.

    `names`: all that the environment has and had.

    A process belongs where its own mark says, else where its nearest marked ancestor's does: some programs
    overwrite their environment to show a title.

    Raises HostError where this machine does not let one look, as when descriptors run out: what could not be seen
    must not pass for gone.
    """
    stats: dict[int, Stat] = {}
    marks: dict[int, tuple[Mark | None, bool]] = {}
    for pid in pids():
        if (stat := read_stat(pid)) is not None:
            stats[pid] = stat
            marks[pid] = _own_mark(pid)
    found: list[Process] = []
    for pid, stat in stats.items():
        mark = _mark_of(pid, stats, marks)
        if mark is None or mark.site != site or mark.environment not in names:
            continue
        if service is None or mark.service == service:
            found.append(Process(pid, stat.parent, stat.session, stat.started_ticks, mark, marks[pid][1]))
    return sorted(found, key=lambda process: (process.started_ticks, process.pid))


def pids() -> list[int]:
    """Raises HostError."""
    with host_trouble("see what runs"):
        return [int(folder.name) for folder in PROC.iterdir() if folder.name.isdigit()]


def in_control_group(is_own: Callable[[str], bool]) -> set[int]:
    """The processes in a control group of which some folder's name is one of our own."""
    found = set()
    for pid in pids():
        with suppress(OSError):  # gone meanwhile
            lines = (PROC / str(pid) / "cgroup").read_text(errors="replace").splitlines()
            if any(is_own(name) for line in lines for name in line.split("/")[1:]):
                found.add(pid)
    return found


def read_stat(pid: int) -> Stat | None:
    """None when the process has gone, or is a zombie: it runs no more. Raises HostError."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError as error:
        _pass_over(error)
        return None
    # The command's name stands in brackets and may hold anything, brackets too.
    state, parent, _group, session, *rest = text.rpartition(")")[2].split()
    return None if state in "ZX" else Stat(int(parent), int(session), int(rest[15]))


def command_name(pid: int) -> str:
    """The program's name as the kernel keeps it; never its arguments, which may hold secrets."""
    try:
        return (PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return "gone"


def started_at(started_ticks: int) -> datetime:
    """Raises HostError, and RuntimeError (a bug) when the kernel does not say when it booted."""
    with host_trouble("see what runs"):
        lines = (PROC / "stat").read_text().splitlines()
    for line in lines:
        if line.startswith("btime "):
            return datetime.fromtimestamp(int(line.split()[1]) + started_ticks / TICKS_PER_S, UTC)
    raise RuntimeError("/proc/stat has no btime")


def listeners(port: int) -> list[Listener]:
    """Every TCP socket that listens on the port, on any address. A busy machine has very many others: line by line.

    Raises HostError.
    """
    found: list[Listener] = []
    ends = f":{port:04X}"
    for table in ("tcp", "tcp6"):
        try:
            with (PROC / "net" / table).open() as lines:
                for line in lines:
                    if ends not in line:
                        continue
                    _, local, _, state, *more = line.split()
                    if state == LISTENING and local.endswith(ends):
                        found.append(Listener(local.removesuffix(ends), more[5]))
        except OSError as error:
            _pass_over(error)  # a kernel without IPv6
    return found


def owners(listener: Listener) -> list[int]:
    """The processes that hold the socket; empty when they are not ours to look into. Raises HostError."""
    return [pid for pid in pids() if f"socket:[{listener.inode}]" in _open_files(pid)]


def describe(holders: list[int]) -> str:
    """The processes that `owners` found, for a sentence."""
    named = ", ".join(f"pid {pid} ({command_name(pid)})" for pid in holders)
    return named or "a process of another user"


def _pass_over(error: OSError) -> None:
    """Raises HostError, unless the error says no more than that it is gone, or not ours to look into."""
    if error.errno not in PASSED_OVER:
        raise as_host_error("see what runs", error) from error


def _open_files(pid: int) -> set[str]:
    folder = PROC / str(pid) / "fd"
    links: set[str] = set()
    try:
        for link in folder.iterdir():
            links.add(str(link.readlink()))
    except OSError as error:
        _pass_over(error)
    return links


def _own_mark(pid: int) -> tuple[Mark | None, bool]:
    try:
        environ = (PROC / str(pid) / "environ").read_bytes()
    except OSError as error:
        _pass_over(error)
        return None, False
    entries = environ.split(b"\0")
    prefix = f"{VARIABLE}=".encode()
    text = next((entry[len(prefix) :] for entry in entries if entry.startswith(prefix)), b"")
    is_shim = f"{ROLE_VARIABLE}={SHIM_ROLE}".encode() in entries
    mark = Mark.parse(text.decode(errors="replace"))
    return mark, is_shim and mark is not None


def _mark_of(pid: int, stats: dict[int, Stat], marks: dict[int, tuple[Mark | None, bool]]) -> Mark | None:
    seen: set[int] = set()  # the table was not read in one instant: a reused pid might make a ring
    while pid in stats and pid not in seen:
        if (mark := marks[pid][0]) is not None:
            return mark
        seen.add(pid)
        pid = stats[pid].parent
    return None
