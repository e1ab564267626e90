"""The Git processes that this one keeps for a mirror."""

from __future__ import annotations

import os
from pathlib import Path


def children(folder: Path, command: str) -> list[int]:
    """Those of a Git command, such as `cat-file`, that have not ended and read the mirror in this folder."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            arguments = (stat.parent / "cmdline").read_bytes()
            inside = (stat.parent / "cwd").samefile(folder)
        except OSError:  # It ended while we looked.
            continue
        if int(parent) == os.getpid() and state != "Z" and inside and command.encode() in arguments:
            found.append(int(stat.parent.name))
    return found
