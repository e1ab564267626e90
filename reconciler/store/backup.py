"""Copies of the database: made while the daemon writes, verified before they count, put back only when asked."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import Struct

from reconciler.model.errors import HostError
from reconciler.store import Store, schema
from reconciler.store.audit import Audit
from reconciler.store.connection import Corrupt, connect, damaged, explained, make_private
from reconciler.store.marks import EVERYWHERE
from reconciler.store.opening import DATABASE, set_aside, sync_folder

FOLDER = "copies"
KEPT_MAX = 7
EVERY = timedelta(days=1)
FORM = "ugs-%Y%m%dT%H%M%SZ.db"
PATTERN = "ugs-????????T??????Z.db"

Now = Callable[[], datetime]


class Backup(Struct, frozen=True):
    """A whole copy: how much of the audit it holds, and when the last of it happened."""

    path: Path
    schema: int
    rows: int
    newest: datetime | None


class _Copy(Audit):
    """A database of whatever schema, to be looked through."""

    def _prepare(self, *, read_only: bool) -> None:  # noqa: ARG002 - it always is
        self._schema = schema.check_version(self._connection, self.path)

    def verified(self) -> Backup:
        """Raises Corrupt; HostError for what is no database of ours."""
        if self._schema == 0:
            raise HostError(f"{self.path}: this is no database of UGS", "name a copy that `ugs backup` made")
        for check in ("integrity_check(1)", "foreign_key_check"):
            row = self._one(f"PRAGMA {check}")
            if row and row[0] != "ok":
                raise damaged(self.path, f"{check}: {row[0]}")
        if broken := self.verify_audit():
            raise damaged(self.path, f"audit row {broken.id}: {broken.reason}")
        newest = self.audit_rows(limit=1)
        return Backup(
            self.path, self._schema, newest[0].id if newest else 0, newest[0].at if newest else None
        )


def create(database: Path, to: Path, *, now: Now) -> Backup:
    """Copy the database, also while the daemon writes it, to a path where nothing stands; verified.

    It holds every row that was durable when this began, or it is not there. Raises HostError, TransientError.
    """
    if to.exists():
        raise HostError(f"{to} is there already", "name another file: a backup is never overwritten")
    with _placed(to) as unfinished:
        with (
            closing(connect(database, read_only=True)) as source,
            closing(connect(unfinished, read_only=False)) as copy,
            explained(unfinished),
        ):
            source.backup(copy)
            # Otherwise it would ask for side files of its own as soon as somebody looked into it.
            copy.execute("PRAGMA journal_mode = DELETE")
        verify(unfinished, now=now)
    return verify(to, now=now)


def verify(path: Path, *, now: Now) -> Backup:
    """That every page, reference and row of the audit is as it was written. Raises HostError where not."""
    try:
        with closing(_Copy(path, now=now, read_only=True)) as copy:
            return copy.verified()
    except Corrupt as error:
        raise HostError(error.message, "use another backup") from error


def restore(backup: Path, state: Path, *, now: Now, actor: str) -> Path | None:
    """Put a verified backup in the database's place, in safe mode; where what stood there is kept, if anything did.

    The caller holds the state's lock. Raises HostError, and then nothing has changed.
    """
    found, path = verify(backup, now=now), state / DATABASE
    prepared = path.with_name(f"{DATABASE}.restoring")
    for old in state.glob(f"{prepared.name}*"):
        old.unlink()
    with _host_trouble(prepared):
        make_private(prepared)
        shutil.copyfile(backup, prepared)
        when = f"{found.newest:%Y-%m-%d %H:%M:%S} UTC" if found.newest else "an empty one"
        with closing(Store(prepared, now=now)) as store:
            store.enter_recovery(
                EVERYWHERE, f"a backup was restored by {actor}; the newest of it is of {when}"
            )
        _sync(prepared)
        kept = set_aside(path, "replaced", now()) if path.exists() else None
        prepared.replace(path)
        sync_folder(state)
    return kept


def daily(state: Path, *, now: Now) -> Backup | None:
    """One more backup where the newest is a day old, and only then one fewer of the oldest. Raises as `create`."""
    folder = state / FOLDER
    with _host_trouble(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
    kept = sorted(folder.glob(PATTERN))
    due = now() - EVERY
    if kept and kept[-1].name > due.strftime(FORM):
        return None
    made = create(state / DATABASE, folder / now().strftime(FORM), now=now)
    for old in kept[: -(KEPT_MAX - 1)]:
        old.unlink(missing_ok=True)
    return made


@contextlib.contextmanager
def _placed(to: Path) -> Iterator[Path]:
    """A path to write to, which is `to` once the block has ended well, and gone where it has not."""
    unfinished = to.with_name(f"{to.name}.part")
    with _host_trouble(to):
        unfinished.unlink(missing_ok=True)
        try:
            make_private(unfinished)
            yield unfinished
            _sync(unfinished)
            unfinished.replace(to)
            sync_folder(to.parent)
        except BaseException:
            for left in (unfinished, unfinished.with_name(f"{unfinished.name}-journal")):
                left.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _host_trouble(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", "see to the disk and its permissions") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
