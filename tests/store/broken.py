"""A disk that refuses a write."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from reconciler.store import Damaged, Store


def damage(store: Store) -> None:
    """A write meets a broken disk, and whoever wrote makes nothing of it."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    with suppress(Damaged):
        store._explain(error)
