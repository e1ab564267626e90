"""Run by a test: brings an old database up to date, killed at each statement in turn; says what became of it."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from reconciler.store import schema
from reconciler.store.connection import connect


def killed_at(path: Path, number: int) -> bool:
    """Migrate in a process of its own that is killed before its n-th statement; False when it had fewer."""
    child = os.fork()
    if child == 0:
        connection, seen = connect(path, read_only=False), 0

        def count(_sql: str) -> None:
            nonlocal seen
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

        connection.execute("PRAGMA journal_mode = WAL")
        connection.set_trace_callback(count)
        schema.migrate(connection, path)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main() -> None:
    """argv: the old database, a folder to work in, the newest version."""
    old, folder, newest = Path(sys.argv[1]), Path(sys.argv[2]), len(schema.MIGRATIONS)
    __import__("sqlite_utils")  # before the forks: each would pay for it
    number = 1
    while True:
        path = folder / f"{number}.db"
        shutil.copy(old, path)
        killed = killed_at(path, number)
        with closing(sqlite3.connect(path)) as found:
            version = found.execute("PRAGMA user_version").fetchone()[0]
            tables = sorted(row[0] for row in found.execute("SELECT sql FROM sqlite_master WHERE sql <> ''"))
        with closing(connect(path, read_only=False)) as connection:
            schema.migrate(connection, path)
            row = connection.execute("SELECT value FROM marks WHERE key = 'kept'").fetchone()
            whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
            after = connection.execute("PRAGMA user_version").fetchone()[0]
        sys.stdout.write(f"{version} {hash(tuple(tables)) & 0xFFFFFFFF} {row and row[0]} {whole} {after}\n")
        if not killed:
            break
        number += 1
    assert after == newest


if __name__ == "__main__":
    main()
