"""A service with real data: a SQLite file, and the program that saves, verifies, restores and migrates it."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

PROGRAM = """\
import os, pathlib, signal, sqlite3, sys, time

folder, verb, *rest = sys.argv[1:]
folder, database = pathlib.Path(folder), pathlib.Path(folder) / "orders.db"
name = rest[0] if rest else ""


def mood():
    file = folder / f"mood-{verb}-{pathlib.Path(name).name}"
    return file.read_text() if file.exists() else ""


def connect(path):
    return sqlite3.connect(path, isolation_level=None)


with (folder / "calls").open("a") as calls:
    calls.write(f"{verb} {pathlib.Path(name).name}\\n")
if mood() == "loud":
    sys.stdout.buffer.write(b"\\xff" * 300_000 + b"secret " + os.environ["TOKEN"].encode() + b"\\n")
while mood() == "hang":
    time.sleep(0.01)
if mood() == "fail":
    sys.exit("it does not want to")
if verb == "save" and mood() != "lie":
    with connect(database) as source, connect(name) as copy:
        source.backup(copy)
elif verb == "verify":
    if connect(name).execute("PRAGMA integrity_check").fetchone() != ("ok",):
        sys.exit("it is damaged")
elif verb == "restore":
    with connect(name) as source, connect(database) as copy:
        source.backup(copy)
elif verb == "check":
    found = connect(database).execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    sys.exit(int(mood() or (0 if found else 1)))
elif verb in ("up", "down") and mood() != "lie":
    connect(database).execute(f"CREATE TABLE {name} (id)" if verb == "up" else f"DROP TABLE {name}")
if mood() == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if mood() == "changed":
    sys.exit("it failed, it says")
print(verb, name, "done")
"""


class Ledger:
    """The data of a service. Tables are what migrations make; `calls` is what was really run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        with closing(sqlite3.connect(self.folder / "orders.db")) as database:
            database.execute("CREATE TABLE orders (id)")
            database.commit()

    def mood(self, verb: str, name: str, mood: str) -> None:
        """How the program behaves when it is called so: fail, hang, lie, die, changed, loud; check: its exit code."""
        (self.folder / f"mood-{verb}-{name}").write_text(mood)

    def better(self) -> None:
        """All moods are good again."""
        for file in self.folder.glob("mood-*"):
            file.unlink()

    def tables(self) -> list[str]:
        with closing(sqlite3.connect(self.folder / "orders.db")) as database:
            rows = database.execute("SELECT name FROM sqlite_master ORDER BY rowid").fetchall()
        return [row[0] for row in rows]

    def calls(self) -> list[str]:
        """Every call since the last time that this was asked."""
        file = self.folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines

    def called(self, call: str) -> bool:
        """Whether this is among the calls; forgets none of them."""
        file = self.folder / "calls"
        return file.exists() and call in file.read_text().splitlines()

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-IS", "lib/ledger.py", str(self.folder), *words]

    def migration(
        self, name: str, phase: str = "before", *, without: str = "", **more: Any
    ) -> dict[str, Any]:
        """One that makes a table of its name. `without`: words among down and check."""
        verbs = {verb: self.argv(verb, name) for verb in ("up", "down", "check") if verb not in without}
        return {"id": name, "phase": phase} | verbs | more

    def backup(self, **more: Any) -> dict[str, Any]:
        verbs = ("save", "verify", "restore")
        return {verb: self.argv(verb, "{backup}") for verb in verbs} | more

    def manifest(self, *migrations: dict[str, Any], more: str = "") -> str:
        """Lines of a release's manifest."""
        return f"backup: {json.dumps(self.backup())}\nmigrations: {json.dumps(migrations)}\n{more}"
