"""The Git processes that this one keeps."""

from __future__ import annotations

import os
from pathlib import Path


def children(command: str) -> list[int]:
    """Those of a Git command, such as `cat-file`, that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            arguments = (stat.parent / "cmdline").read_bytes()
        except OSError:  # It ended while we looked.
            continue
        if int(parent) == os.getpid() and state != "Z" and command.encode() in arguments:
            found.append(int(stat.parent.name))
    return found
