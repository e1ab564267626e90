"""The daemon's own way to open its database: what is damaged is kept aside, what is lost is noticed."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from reconciler.model.errors import HostError
from reconciler.store import Store
from reconciler.store.connection import Corrupt
from reconciler.store.marks import EVERYWHERE
from reconciler.store.rows import Head
from reconciler.store.witness import Witness

DATABASE = "ugs.db"
WITNESS = "ugs.head"
SIDE_FILES = ("", "-wal", "-shm")


def open_state(state: Path, *, now: Callable[[], datetime]) -> Store:
    """The database of a state folder whose lock the caller holds; in safe mode where it is not the newest.

    Raises as Store does, save that a corrupt file is kept aside, and an empty database takes its place.
    """
    path, witness = state / DATABASE, Witness(state / WITNESS)
    newest, was_there = witness.read(), path.exists()
    lost = ""
    try:
        store = _readable(Store(path, now=now, witness=witness))
    except Corrupt as error:
        aside = set_aside(path, "damaged", now())
        lost = f"{error.message}; it is kept as {aside}"
        store = Store(path, now=now, witness=witness)
    try:
        notice_loss(store, newest, was_there=was_there, lost=lost)
    except BaseException:
        store.close()
        raise
    return store


def notice_loss(store: Store, newest: Head | None, *, was_there: bool, lost: str = "") -> None:
    """Safe mode, where the database is not the newest. `newest`: what stands beside it; `was_there`: whether there was
    a file at all; `lost`: why it is known already that another took its place."""
    if lost := lost or _lost(store, newest, was_there=was_there):
        store.enter_recovery(EVERYWHERE, lost)


def set_aside(path: Path, why: str, at: datetime) -> Path:
    """Move a database and its side files to a dated name that is still free; that name."""
    stem = f"{path.name}.{why}-{at:%Y%m%dT%H%M%SZ}"
    aside, number = path.with_name(stem), 1
    while any(path.with_name(f"{aside.name}{side}").exists() for side in SIDE_FILES):
        number += 1
        aside = path.with_name(f"{stem}.{number}")
    try:
        for side in reversed(SIDE_FILES):  # the database last: as long as it stands, this is not done
            if (file := path.with_name(f"{path.name}{side}")).exists():
                file.rename(path.with_name(f"{aside.name}{side}"))
        sync_folder(path.parent)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", "make the state folder writable") from error
    return aside


def sync_folder(folder: Path) -> None:
    """What was renamed in a folder stays so after a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _readable(store: Store) -> Store:
    """Raise Corrupt where what a start needs cannot be read back, though SQLite finds every page sound."""
    try:
        store.upgrades(unfinished=True)
        store.frozen()
        store.recoveries()
    except BaseException:
        store.close()
        raise
    return store


def _lost(store: Store, newest: Head | None, *, was_there: bool) -> str:
    """What is missing in the database, by what stands beside it; empty when nothing is."""
    if newest is None or store.contains(newest):
        return ""
    if not was_there:
        return f"{store.path} was gone, and had {newest.row} rows in its audit"
    found = store.head()
    if found is None or found.row < newest.row:
        rows = found.row if found else 0
        return f"{store.path} is older than it was: its audit ends at row {rows}, and had {newest.row}"
    return f"{store.path} is not what it was: row {newest.row} of its audit is another"
