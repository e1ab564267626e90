"""The repository as the engine sees it: fetched, refused when rewritten, read once per blob."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from msgspec import Struct

from reconciler.collector import standing_still
from reconciler.engine.past import NEW_COMMITS_MAX, Past
from reconciler.git import Entry, Mirror, Remote
from reconciler.model.errors import ArtifactError, TransientError, UgsError
from reconciler.model.layout import FOLDERS
from reconciler.model.section import Load
from reconciler.model.snapshot import Cache, Snapshot, read, reread
from reconciler.model.upgrade import RETRY_TRAILER
from reconciler.parsed import Parsed

SNAPSHOTS_MAX = 20
MANY = 5_000
"""Of so many files it is told how far reading them has come."""
log = logging.getLogger("ugs")


class Rewritten(UgsError):
    """The branch no longer contains the commit that is in force: someone forced a push."""


class Retry(Struct, frozen=True):
    """A person's word, in a commit's trailer, that a failed operation may be tried once more."""

    operation: str
    commit: str
    author: str


class Fetched(Struct, frozen=True):
    """What one fetch brought. `previous`: what was in force; None for the first one ever."""

    tip: str
    previous: str | None


class Repository:
    """Blocking; called in threads, one call that moves refs at a time."""

    def __init__(
        self, mirror: Mirror, remote: Remote, *, cache: Cache | None = None, parsed: Parsed | None = None
    ) -> None:
        """`parsed`: what a former daemon has read of it, and this one will have."""
        self.mirror = mirror
        self.remote = remote
        self._parsed = parsed
        self._cache = cache or (Cache(parsed.recall) if parsed else Cache())
        self._snapshots: dict[str, Snapshot] = {}
        self.past = Past(mirror, self.snapshot, self._snapshots.get)

    def beside(self, mirror: Mirror) -> Repository:
        """The same over another mirror; what was parsed in one is not parsed again in the other."""
        return Repository(mirror, self.remote, cache=self._cache)

    def fetch(self, *, accept_rewrite: bool = False, poll: bool = False) -> Fetched:
        """Fetch the branch; with `poll`, where there is news. Raises Rewritten, TransientError, or HostError when the
        remote refuses us."""
        tip = self.mirror.poll() if poll else self.mirror.fetch()
        previous = self.mirror.accepted()
        if previous == tip:
            return Fetched(tip, previous)
        if previous and not self._follows(tip, previous):
            if not accept_rewrite:
                raise Rewritten(
                    f"the branch was rewritten: its tip {tip[:12]} does not contain {previous[:12]}, which is in force",
                    "look at what was dropped, then say `ugs sync --accept-rewrite`",
                )
            previous = None
        return Fetched(tip, previous)

    def _follows(self, tip: str, previous: str) -> bool:
        # As nearly always, and Git need not be asked for what lies between.
        return previous in self.past.commit(tip).parents or self.mirror.is_ancestor(previous, tip)

    def accept(self, tip: str) -> None:
        """From now on this commit is in force, also after a restart."""
        self.mirror.accept(tip)

    def snapshot(self, revision: str) -> Snapshot:
        """The repository at a revision: of one that was read lately, what differs from it.

        All that it depends on is named by the revision: the tree, and the history behind it.
        """
        snapshot = self._snapshots.pop(revision, None) or self._read(revision)
        self._snapshots[revision] = snapshot  # last again: what was used longest ago goes first
        for old in list(self._snapshots)[:-SNAPSHOTS_MAX]:
            self._snapshots.pop(old, None)
        return snapshot

    def _read(self, revision: str) -> Snapshot:
        older = partial(self.mirror.older, revision)
        for near in self._near():
            # A commit that nothing leads to any more, a branch's that was looked at, may be gone from the mirror.
            with suppress(TransientError):
                changes = self.mirror.differences(near.revision, revision, FOLDERS)
                load = self._loading(entry for entry in changes.values() if entry)
                return reread(near, revision, changes, load, self._cache, older)
        with standing_still():
            entries = self.mirror.entries(revision, FOLDERS)
            return read(revision, entries, self._loading(entries), self._cache, older)

    def _loading(self, entries: Iterable[Entry]) -> Load:
        return self.mirror.blobs(self._cache.unknown(entries), _progress)

    def _near(self) -> list[Snapshot]:
        """What was read of the commit in force; else what was used last. From an older one whatever moved since would
        be read anew, and what is equal would be other objects."""
        known = self._snapshots.get(self.mirror.accepted() or "")
        return [known] if known else list(self._snapshots.values())[-1:]

    @property
    def remembers(self) -> bool:
        """Whether anything is kept of what was read."""
        return self._parsed is not None

    def remember(self, snapshot: Snapshot) -> None:
        """Keep what was read of the revision that is in force for a daemon that starts after this one."""
        if self._parsed:
            self._parsed.keep(snapshot.sections, self._cache)
            self._parsed.forget()

    def pinned(self, revision: str, environment: str) -> tuple[str, ...]:
        """The releases that an environment pins at a revision, as beginnings of their paths.

        Where a pin cannot be read, every release that it could mean.
        """
        snapshot = self.snapshot(revision)
        known = snapshot.environments.get(environment)
        services = [f"releases/{service}/" for place, service in snapshot.blind_pins if place == environment]
        hidden = ["releases/"] if environment in snapshot.blind else []
        pins = known.pins.values() if known else ()
        return (*hidden, *services, *(f"releases/{pin.service}/{pin.version.text}.yaml" for pin in pins))

    def file(self, revision: str, path: str) -> bytes:
        """A regular file at a revision. Raises ArtifactError when there is none."""
        data = self.mirror.blob_at(revision, path)
        if data is None:
            raise ArtifactError(
                f"{path} is no regular file at {revision[:12]}", "commit the file, or mend the path"
            )
        return data

    def retries(self, previous: str, tip: str) -> tuple[Retry, ...]:
        """What people released in the commits that came."""
        newest = self.past.commit(tip)
        commits = (
            [newest]
            if newest.parents == (previous,)
            else self.mirror.log(previous, tip, first_parent=False, limit=NEW_COMMITS_MAX)
        )
        return tuple(
            Retry(value, commit.sha, f"{commit.author} <{commit.email}>")
            for commit in reversed(commits)
            for key, value in commit.trailers
            if key == RETRY_TRAILER
        )


def _progress(done: int, total: int) -> None:
    if total >= MANY:
        log.info("reading the repository: %s of %s files", f"{done:,}", f"{total:,}")
