"""The least versions of the programs that UGS leans on, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

_NUMBERS = re.compile(r"\d+(?:\.\d+)*")


class Floor(Struct, frozen=True):
    """`least`: the first good release of each series that has one, the oldest series first; newer series are good."""

    program: str
    least: tuple[str, ...]
    why: str
    """What happens below it, as the end of a sentence."""


FLOORS = (
    Floor("git", ("2.34.0",), "cannot sign with SSH keys, nor verify what was signed with them"),
    Floor(
        "git",
        ("2.39.4", "2.40.2", "2.41.1", "2.42.2", "2.43.4", "2.44.1", "2.45.1"),
        "can be made to run what a repository on this machine's disk brings along (CVE-2024-32004, CVE-2024-32465)",
    ),
    Floor("SQLite", ("3.37.0",), "does not know strict tables"),
    Floor(
        "SQLite",
        ("3.51.3",),
        "may damage a database in WAL mode when two connections write and checkpoint at the same instant: UGS has "
        "one that does, so let no other program write to ugs.db",
    ),
)


class Program(Struct, frozen=True):
    """A program of this machine. `lacks`: what speaks against its version; empty when nothing does."""

    program: str
    version: str
    lacks: tuple[str, ...]


def program(name: str, version: str, floors: Iterable[Floor] = FLOORS) -> Program:
    """A program and its version, held against its floors. A version that cannot be read is below each."""
    lacks = tuple(
        f"{name} {version} is older than {floor.least[-1]}{_series(floor)}: it {floor.why}"
        for floor in floors
        if floor.program == name and not _reaches(_parts(version), floor)
    )
    return Program(name, version, lacks)


def _reaches(version: tuple[int, ...], floor: Floor) -> bool:
    least = [_parts(text) for text in floor.least]
    return version >= least[-1] or any(version[:2] == one[:2] and version >= one for one in least)


def _parts(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with: a distribution's own suffix says nothing that is comparable."""
    found = _NUMBERS.match(version)
    return tuple(int(number) for number in found.group().split(".")) if found else ()


def _series(floor: Floor) -> str:
    return f" (or {', '.join(floor.least[:-1])} in its series)" if len(floor.least) > 1 else ""
