"""The ends of log files, read from the end."""

from __future__ import annotations

import os
from pathlib import Path

from reconciler.drivers.process.instance import LOG_FILES_MAX

TAIL_BYTES_MAX = 1024 * 1024
LINES_MAX = 10_000


def last_lines(folder: Path, count: int) -> list[str]:
    """The last `count` lines of all logs in the folder, at most 10,000 and a MiB of each file.

    Lines of several instances cannot be merged by time: each log stands whole, the last written one last.
    """
    logs = sorted(folder.glob("*.log"), key=lambda log: log.stat().st_mtime_ns)
    count = min(count, LINES_MAX)
    lines: list[str] = []
    for log in logs:
        label = f"{log.stem}: " if len(logs) > 1 else ""
        lines += [label + line for line in _tail(log, count)]
    return lines[-count:] if count > 0 else []


def _tail(log: Path, count: int) -> list[str]:
    """Of the log and, as far as it does not suffice, of its older parts."""
    lines: list[str] = []
    for path in (log, *(log.with_name(f"{log.name}.{number}") for number in range(1, LOG_FILES_MAX))):
        if len(lines) >= count or not path.exists():
            break
        lines = _end(path) + lines
    return lines[-count:]


def _end(path: Path) -> list[str]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES_MAX))
        lines = file.read(TAIL_BYTES_MAX).decode(errors="replace").splitlines()
    return lines[1:] if size > TAIL_BYTES_MAX else lines  # the first is cut somewhere
