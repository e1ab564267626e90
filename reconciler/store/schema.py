"""How an older database becomes a newer one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from reconciler.model.errors import HostError
from reconciler.store.connection import explained, make_private
from reconciler.store.migrations import MIGRATIONS

__all__ = ["MIGRATIONS", "check_version", "copy_aside", "migrate"]


def check_version(connection: sqlite3.Connection, path: Path, newest: int = len(MIGRATIONS)) -> int:
    """The schema version found; 0 for an empty file. Raises HostError for that of a later UGS."""
    with explained(path):
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > newest:
        raise HostError(
            f"{path}: written by a newer UGS (schema {found}; this one knows {newest})",
            f"run that version, or put back the copy that its upgrade left as {path.name}.v{newest}",
        )
    return found


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring the schema up to date, each step in a transaction of its own, after copying what is there."""
    found = check_version(connection, path, len(migrations))
    if found == len(migrations):
        return
    from sqlite_utils import Database

    # Unlike sqlite3's own, this executescript does not commit the transaction that it is called in.
    database = Database(connection, execute_plugins=False)
    with explained(path):
        if found:
            copy_aside(connection, path.with_name(f"{path.name}.v{found}"))
        for number, script in enumerate(migrations[found:], start=found + 1):
            connection.execute("BEGIN IMMEDIATE")
            try:
                database.executescript(f"{script};\nPRAGMA user_version = {number};")
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


def copy_aside(connection: sqlite3.Connection, copy: Path) -> None:
    """A whole copy under the name `copy`, or none."""
    unfinished = copy.with_name(f"{copy.name}.part")
    unfinished.unlink(missing_ok=True)
    make_private(unfinished)
    connection.execute("VACUUM INTO ?", (str(unfinished),))
    unfinished.replace(copy)
