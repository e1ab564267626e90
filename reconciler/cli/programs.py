"""The programs of this machine that the daemon leans on, and what speaks against their versions."""

from __future__ import annotations

import os
import sqlite3

from reconciler import command
from reconciler.model.errors import HostError
from reconciler.model.floors import Program, program

TIMEOUT_S = 10.0
INHERITED = ("PATH", "HOME")


def programs() -> tuple[Program, ...]:
    """git and SQLite as they are here. Raises HostError where there is no git."""
    return program("git", _git_version()), program("SQLite", sqlite3.sqlite_version)


def _git_version() -> str:
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    result = command.run(("git", "--version"), timeout_s=TIMEOUT_S, environment=environment)
    if result.code != 0:
        raise HostError(f"git --version ended with code {result.code}", "see that git is whole")
    return result.stdout.decode("utf-8", "replace").strip().removeprefix("git version ")
