"""The repository as the engine sees it: fetched, refused when rewritten, read once per blob."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from reconciler.git import Commit, Mirror, Remote
from reconciler.model import desired as desiring
from reconciler.model.circumstances import AT_COMMIT, BEFORE_COMMIT, BEFORE_PUSH, Asked, Earlier
from reconciler.model.desired import Frozen
from reconciler.model.environment import Environment
from reconciler.model.errors import ArtifactError, UgsError
from reconciler.model.snapshot import Cache, Snapshot, read
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import RETRY_TRAILER
from reconciler.store import Advance

FOLDERS = ("releases", "environments")
HISTORY_MAX = 200
OLDER_MAX = 20
NEW_COMMITS_MAX = 10_000
SNAPSHOTS_MAX = 20


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

    def __init__(self, mirror: Mirror, remote: Remote) -> None:
        self.mirror = mirror
        self.remote = remote
        self._cache = Cache()
        self._snapshots: dict[str, Snapshot] = {}

    def fetch(self, *, accept_rewrite: bool = False) -> Fetched:
        """Fetch the branch. Raises Rewritten, TransientError, or HostError when the remote refuses us."""
        tip = self.mirror.fetch()
        previous = self.mirror.accepted()
        if previous == tip:
            return Fetched(tip, previous)
        if previous and not self.mirror.is_ancestor(previous, tip):
            if not accept_rewrite:
                raise Rewritten(
                    f"the branch was rewritten: its tip {tip[:12]} does not contain {previous[:12]}, which is in force",
                    "look at what was dropped, then say `ugs sync --accept-rewrite`",
                )
            previous = None
        return Fetched(tip, previous)

    def accept(self, tip: str) -> None:
        """From now on this commit is in force, also after a restart."""
        self.mirror.accept(tip)

    def snapshot(self, revision: str) -> Snapshot:
        """The repository at a revision; blobs seen before are not parsed again, nor the last revisions read.

        All that it depends on is named by the revision: the tree, and the history behind it.
        """
        snapshot = self._snapshots.pop(revision, None)
        if snapshot is None:
            entries = self.mirror.entries(revision, FOLDERS)
            snapshot = read(
                revision, entries, self.mirror.blob, self._cache, lambda path: self._older(revision, path)
            )
        self._snapshots[revision] = snapshot  # last again: what was used longest ago goes first
        for old in list(self._snapshots)[:-SNAPSHOTS_MAX]:
            self._snapshots.pop(old, None)
        return snapshot

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

    def revision_of(self, tip: str, work: Workload, frozen: Frozen) -> str:
        """The first-parent commit that made `work` what the environment asks for."""
        moved = tip
        for commit, candidate in self._past(tip, work.environment, work.service, frozen):
            if candidate is None or candidate.target != work.target:
                break
            moved = commit.sha
        return moved

    def asked(self, tip: str, work: Workload, frozen: Frozen, advances: Sequence[Advance] = ()) -> Asked:
        """The commit that asked for `work`, who wrote it, and what it and its push changed of the environment.

        `advances`: what fetches brought into force, the oldest first.
        """
        revision = self.revision_of(tip, work, frozen)
        [commit] = self.mirror.log(None, revision, limit=1)
        first = commit.parents[0] if commit.parents else None
        brought = self.mirror.log(first, revision, first_parent=False, limit=NEW_COMMITS_MAX)
        after = self.snapshot(revision)
        release = after.releases.get((work.service, work.target.version.text))
        push = self._push_of(revision, advances)
        moments = {BEFORE_PUSH: push.before if push else None, BEFORE_COMMIT: first, AT_COMMIT: revision}
        until = push.tip if push else revision
        shas = {sha for sha in (*moments.values(), until) if sha}
        rules = {sha: _rules(after if sha == revision else self.snapshot(sha), work) for sha in shas}
        past = [(when, rules[sha]) for when, sha in moments.items() if sha]
        return Asked(
            revision=revision,
            authors=tuple(sorted({name for one in (commit, *brought) for name in (one.author, one.email)})),
            earlier=tuple(Earlier(when, then) for when, then in past if then and then != rules[until]),
            since=rules[until],
            urgency=release.upgrade.urgency if release else None,
        )

    def moved(
        self, revision: str, environment: str, frozen: Frozen
    ) -> dict[str, tuple[Workload | None, Workload]]:
        """By service that this commit moved: what was asked for before it (None: nothing), and by it."""
        [commit] = self.mirror.log(None, revision, limit=1)
        after = desiring.resolve(self.snapshot(revision), frozen).get(environment)
        first = commit.parents[0] if commit.parents else None
        before = desiring.resolve(self.snapshot(first), frozen).get(environment) if first else None
        if after is None or (before and before.hidden):
            return {}
        old = before.workloads if before else {}
        return {
            service: (old.get(service), work)
            for service, work in after.workloads.items()
            if not (before and service in before.blind)
            and (service not in old or old[service].target != work.target)
        }

    def workload_of(
        self, tip: str, environment: str, service: str, target: Target, frozen: Frozen
    ) -> Workload | None:
        """What describes a running target, from the recent past of the repository."""
        for _, candidate in self._past(tip, environment, service, frozen):
            if candidate is not None and candidate.target == target:
                return candidate
        return None

    def _push_of(self, revision: str, advances: Sequence[Advance]) -> Advance | None:
        """What brought a commit into force; None where nothing is known of it."""

        def reached(sha: str) -> bool:
            return self.mirror.is_ancestor(revision, sha)

        at = bisect_left(
            advances, True, key=lambda one: reached(one.tip)
        )  # later ones contain all that is earlier
        return advances[at] if at < len(advances) and not reached(advances[at].before) else None

    def _past(
        self, tip: str, environment: str, service: str, frozen: Frozen
    ) -> Iterator[tuple[Commit, Workload | None]]:
        paths = (f"environments/{environment}.yaml", f"environments/{environment}", f"releases/{service}")
        for commit in self.mirror.log(None, tip, paths=paths, first_parent=True, limit=HISTORY_MAX):
            yield commit, desiring.asked_of(self.snapshot(commit.sha), environment, service, frozen)

    def _older(self, revision: str, path: str) -> Iterator[tuple[str, bytes]]:
        for commit in self.mirror.log(None, revision, paths=(path,), first_parent=True, limit=OLDER_MAX)[1:]:
            data = self.mirror.blob_at(commit.sha, path)
            if data is not None:
                yield commit.sha, data

    def retries(self, previous: str, tip: str) -> tuple[Retry, ...]:
        """What people released in the commits that came."""
        commits = self.mirror.log(previous, tip, first_parent=False, limit=NEW_COMMITS_MAX)
        return tuple(
            Retry(value, commit.sha, f"{commit.author} <{commit.email}>")
            for commit in reversed(commits)
            for key, value in commit.trailers
            if key == RETRY_TRAILER
        )


def _rules(snapshot: Snapshot, work: Workload) -> Environment | None:
    """What the environment of `work` says, its pins and flags aside."""
    environment = snapshot.environments.get(work.environment)
    return replace(environment, pins={}, flags={}) if environment else None
