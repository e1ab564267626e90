"""What processes use of this machine, as /proc says: a service's own, with all that it started."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from reconciler.drivers.machine.procfs import PROC, TICKS_PER_S, pids
from reconciler.model.errors import UgsError
from reconciler.model.observation import Usage

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
GROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
"""Where control groups of version 2 are, alone or beside those of version 1."""
UNIFIED = "0::"


class _Stat(Struct, frozen=True):
    parent: int
    cpu_ticks: int
    threads: int
    resident_pages: int


def of_families(mains: Collection[str]) -> dict[str, Usage]:
    """By main process, what it and its descendants use; what has gone is left out. One look at the machine.

    Nothing is found where this machine does not let one look: that is told where services are observed.
    """
    stats = {pid: stat for pid in _pids() if (stat := _stat(pid))}
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    return {main: _sum(_family(int(main), children), stats) for main in mains if int(main) in stats}


def of_groups(names: Collection[str]) -> dict[str, Usage]:
    """By the name of a control group, which may be that of a unit or the id of a container, what everything in it and
    below it uses; where there is no such group here, it is left out. One look at the machine."""
    members, folders = dict[str, list[int]](), dict[str, str]()
    for pid in _pids():
        for name, folder in _groups_of(pid):
            if name in names:
                members.setdefault(name, []).append(pid)
                folders[name] = folder
                break
    found: dict[str, Usage] = {}
    for name, group in members.items():
        stats = {pid: stat for pid in group if (stat := _stat(pid))}
        if stats:
            found[name] = _sum(list(stats), stats, _counted_s(folders[name]))
    return found


def _pids() -> list[int]:
    with suppress(UgsError):
        return pids()
    return []


def _stat(pid: int) -> _Stat | None:
    """None when it has gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The command's name stands in brackets and may hold anything, brackets too.
    fields = text.rpartition(")")[2].split()
    # Times: its own, and those of children that have ended.
    return _Stat(int(fields[1]), sum(map(int, fields[11:15])), int(fields[17]), int(fields[21]))


def _family(main: int, children: dict[int, list[int]]) -> list[int]:
    """A process and all below it. What was read is not of one instant: a pid may have come into use again."""
    family, seen = [main], {main}
    for pid in family:
        new = [child for child in children.get(pid, ()) if child not in seen]
        seen.update(new)
        family.extend(new)
    return family


def _groups_of(pid: int) -> Iterator[tuple[str, str]]:
    """The names that the process's control groups go by, outer ones first, each with its folder; those of the unified
    hierarchy before all others."""
    try:
        lines = (PROC / str(pid) / "cgroup").read_text(errors="replace").splitlines()
    except OSError:  # it has gone
        return
    for line in sorted(lines, key=lambda line: not line.startswith(UNIFIED)):
        path = line.split(":", 2)[-1]
        folder = ""
        for part in path.split("/")[1:]:
            folder += f"/{part}"
            yield part, folder
            # docker-ID.scope: as systemd has it of a container.
            yield part.removesuffix(".scope").rpartition("-")[2], folder


def _counted_s(folder: str) -> float | None:
    """The group's processor time by the kernel's own count, which forgets nothing; None where it keeps none."""
    for root in GROUPS:
        with suppress(OSError):
            for line in (root / folder.lstrip("/") / "cpu.stat").read_text().splitlines():
                if line.startswith("usage_usec "):
                    return int(line.split()[1]) / 1e6
    return None


def _sum(family: list[int], stats: dict[int, _Stat], counted_s: float | None = None) -> Usage:
    members = [stats[pid] for pid in family]
    files = [_open_files(pid) for pid in family]
    summed_s = sum(member.cpu_ticks for member in members) / TICKS_PER_S
    return Usage(
        cpu_s=summed_s if counted_s is None else counted_s,
        resident_bytes=sum(member.resident_pages for member in members) * PAGE_BYTES,
        threads=sum(member.threads for member in members),
        open_files=None if None in files else sum(filter(None, files)),
    )


def _open_files(pid: int) -> int | None:
    try:
        return len(os.listdir(PROC / str(pid) / "fd"))  # noqa: PTH208  a count: no paths are made
    except FileNotFoundError:
        return 0
    except OSError:
        return None
