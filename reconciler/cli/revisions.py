"""A repository at its revisions, read by the daemon's rules from whatever clone a person stands in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.collector import standing_still
from reconciler.model.errors import UgsError
from reconciler.model.layout import FOLDERS
from reconciler.model.snapshot import Cache, Snapshot, read

if TYPE_CHECKING:
    from reconciler.git import Local

repository_option = click.option(
    "--repository",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="A clone or a bare repository; only read.",
)


class Revisions:
    """Snapshots of one local repository; a file that did not change is parsed once."""

    def __init__(self, local: Local) -> None:
        self.local = local
        self._cache = Cache()

    @property
    def folder(self) -> Path:
        """Where the repository's paths start, as seen from the current folder."""
        return Path(os.path.relpath(self.local.top))

    def snapshot(self, revision: str) -> Snapshot:
        """The repository at a revision (a full commit id). Raises InputError, HostError."""
        with standing_still():
            entries = self.local.entries(revision, FOLDERS)
            load = self.local.blobs(self._cache.unknown(entries))
            return read(revision, entries, load, self._cache, partial(self.local.older, revision))

    def inhabited(self, revision: str) -> Snapshot:
        """The same. Raises UgsError where the revision has nothing of UGS."""
        if not self.local.entries(revision, FOLDERS):
            raise UgsError(
                f"there is neither releases/ nor environments/ at {revision[:12]} in {self.local.top}",
                "name another revision or --repository, or start one with `ugs init`",
            )
        return self.snapshot(revision)


@contextlib.contextmanager
def revisions_of(folder: Path) -> Iterator[Revisions]:
    """The repository that a folder lies in."""
    from reconciler.git import Local

    with contextlib.closing(Local(folder)) as local:
        yield Revisions(local)
