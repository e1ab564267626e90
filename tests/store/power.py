"""What a power cut leaves of a database: its writes as strace saw them, cut anywhere, unsynced ones lost or torn."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECTOR_BYTES = 512
CALLS = "pwrite64,fdatasync,fsync,ftruncate,write,unlink"
LINE = re.compile(
    r'\d+ +(?P<call>\w+)\((?:(?P<descriptor>\d+)<(?P<path>[^>]*)>)?(?:(?:, )?"(?P<data>[^"]*)")?(?P<rest>.*)\) += \d+$'
)


@dataclass(frozen=True)
class Event:
    """One system call: `write` at an offset, `sync`, `truncate` to a size, `unlink`, or `said`: acknowledged."""

    kind: str
    name: str = ""
    at: int = 0
    data: bytes = b""


def recorded(database: Path, transactions: int) -> list[Event]:
    """Every write of a writer process to the database's files, in order, and what it acknowledged between them."""
    trace = database.with_name("trace")
    subprocess.run(
        [
            *("strace", "-f", "-y", "-xx", "-s", "100000", "-e", f"trace={CALLS}", "-e", "signal=none"),
            *("-o", trace, sys.executable, "-m", "tests.store.writer", database, str(transactions)),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    with trace.open() as lines:
        return list(_events(lines, database.name))


def _events(lines: Iterator[str], database: str) -> Iterator[Event]:
    files = (database, f"{database}-wal")
    for line in lines:
        if not (found := LINE.match(line)):
            continue
        data, numbers = _bytes(found["data"]), re.findall(r"-?\d+", found["rest"])
        name = Path(_bytes(found["path"] if found["path"] is not None else found["data"]).decode()).name
        match found["call"]:
            case "write" if found["descriptor"] == "1":
                yield Event("said", data=data)
            case "pwrite64" if name in files:
                yield Event("write", name, int(numbers[1]), data)
            case "fsync" | "fdatasync" if name in files:
                yield Event("sync", name)
            case "ftruncate" if name in files:
                yield Event("truncate", name, int(numbers[0]))
            case "unlink" if name in files:
                yield Event("unlink", name)


def _bytes(text: str | None) -> bytes:
    return bytes.fromhex((text or "").replace("\\x", ""))


@dataclass
class Disk:
    """What is on the platter, and what only the kernel knows."""

    durable: dict[str, bytearray]
    pending: list[Event] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)

    def see(self, event: Event) -> None:
        match event.kind:
            case "said":
                self.acknowledged += event.data.decode().split()
            case "write":
                self.pending.append(event)
            case "sync":
                for write in self.pending:
                    if write.name == event.name:
                        _put(self.durable, write, len(write.data))
                self.pending = [write for write in self.pending if write.name != event.name]
            case "truncate":
                del self.durable.setdefault(event.name, bytearray())[event.at :]
            case "unlink":
                self.durable.pop(event.name, None)
                self.pending = [write for write in self.pending if write.name != event.name]

    def after_the_cut(self, chance: random.Random) -> dict[str, bytes]:
        """The files as they are found: each write that was not synced is there, lost, or there in part."""
        files = {name: bytearray(content) for name, content in self.durable.items()}
        for write in self.pending:
            sectors = -(-len(write.data) // SECTOR_BYTES)
            kept = chance.choice((0, sectors, chance.randint(0, sectors)))
            if kept:
                _put(files, write, min(len(write.data), kept * SECTOR_BYTES))
        return {name: bytes(content) for name, content in files.items()}


def _put(files: dict[str, bytearray], write: Event, length: int) -> None:
    content = files.setdefault(write.name, bytearray())
    content.extend(bytes(max(0, write.at + length - len(content))))
    content[write.at : write.at + length] = write.data[:length]
