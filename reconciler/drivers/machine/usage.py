"""What processes use of this machine, as /proc says: a service's own, with all that it started."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress

from msgspec import Struct

from reconciler.drivers.machine.procfs import PROC, TICKS_PER_S, pids
from reconciler.model.errors import UgsError

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Usage(Struct, frozen=True):
    """`cpu_s`: seconds of processor time since it started, of what has ended too. `open_files`: None where they are
    another user's, and may not be counted."""

    cpu_s: float
    resident_bytes: int
    threads: int
    open_files: int | None


class _Stat(Struct, frozen=True):
    parent: int
    cpu_ticks: int
    threads: int
    resident_pages: int


def usage(mains: Collection[int]) -> dict[int, Usage]:
    """By main process, what it and its descendants use; what has gone is left out. One look at the machine.

    Nothing is found where this machine does not let one look: that is told where services are observed.
    """
    stats = _stats()
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    return {main: _sum(_family(main, children), stats) for main in mains if main in stats}


def _stats() -> dict[int, _Stat]:
    found: dict[int, _Stat] = {}
    with suppress(UgsError):
        for pid in pids():
            with suppress(OSError):  # it has gone
                text = (PROC / str(pid) / "stat").read_text(errors="replace")
                # The command's name stands in brackets and may hold anything, brackets too.
                fields = text.rpartition(")")[2].split()
                # Times: its own, and those of children that have ended.
                ticks = sum(map(int, fields[11:15]))
                found[pid] = _Stat(int(fields[1]), ticks, int(fields[17]), int(fields[21]))
    return found


def _family(main: int, children: dict[int, list[int]]) -> list[int]:
    """A process and all below it. What was read is not of one instant: a pid may have come into use again."""
    family, seen = [main], {main}
    for pid in family:
        new = [child for child in children.get(pid, ()) if child not in seen]
        seen.update(new)
        family.extend(new)
    return family


def _sum(family: list[int], stats: dict[int, _Stat]) -> Usage:
    members = [stats[pid] for pid in family]
    files = [_open_files(pid) for pid in family]
    return Usage(
        cpu_s=sum(member.cpu_ticks for member in members) / TICKS_PER_S,
        resident_bytes=sum(member.resident_pages for member in members) * PAGE_BYTES,
        threads=sum(member.threads for member in members),
        open_files=None if None in files else sum(filter(None, files)),
    )


def _open_files(pid: int) -> int | None:
    try:
        return len(os.listdir(PROC / str(pid) / "fd"))  # noqa: PTH208  # a count: no paths are made
    except FileNotFoundError:
        return 0
    except OSError:
        return None
