"""The repository as the engine sees it: fetched, refused when rewritten, read once per blob."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from reconciler.git import Commit, Mirror, Remote
from reconciler.model import desired as desiring
from reconciler.model.circumstances import Asked
from reconciler.model.desired import Desired, Frozen
from reconciler.model.errors import ArtifactError, UgsError
from reconciler.model.snapshot import Cache, Snapshot, read
from reconciler.model.target import Target, Workload

FOLDERS = ("releases", "environments")
HISTORY_MAX = 200
OLDER_MAX = 20
NEW_COMMITS_MAX = 10_000
RETRY_TRAILER = "Ugs-Retry"


class Rewritten(UgsError):
    """The branch no longer contains the commit that is in force: someone forced a push."""


class Retry(Struct, frozen=True):
    """A person's word, in a commit's trailer, that a failed operation may be tried once more."""

    operation: str
    commit: str
    author: str


class Fetched(Struct, frozen=True):
    """What one fetch brought. `previous` is None for the first one ever."""

    tip: str
    previous: str | None
    retries: tuple[Retry, ...]


class Then(Struct, frozen=True):
    """An environment as it stood at a commit: None where the repository did not have it, or it was `hidden`."""

    commit: Commit
    name: str
    """The environment's, at that time."""
    desired: Desired | None
    hidden: bool

    def asks(self, service: str, work: Workload | None) -> bool:
        """Whether it asked for `work` to run, or with None for the service to be removed."""
        here = self.desired
        if work is None and here is None:
            return not self.hidden
        if here is None:
            return False
        if work is None:
            pinned = here.hidden or service in here.workloads or service in here.blind
            return here.environment.policy.prune and not pinned
        found = here.workloads.get(service)
        return found is not None and found.target == work.target


class Repository:
    """Blocking; called in threads, one call that moves refs at a time."""

    def __init__(self, mirror: Mirror, remote: Remote) -> None:
        self.mirror = mirror
        self.remote = remote
        self._cache = Cache()

    def fetch(self, *, accept_rewrite: bool = False) -> Fetched:
        """Fetch the branch. Raises Rewritten, TransientError, or HostError when the remote refuses us."""
        tip = self.mirror.fetch()
        previous = self.mirror.accepted()
        if previous == tip:
            return Fetched(tip, previous, ())
        if previous and not self.mirror.is_ancestor(previous, tip):
            if not accept_rewrite:
                raise Rewritten(
                    f"the branch was rewritten: its tip {tip[:12]} does not contain {previous[:12]}, which is in force",
                    "look at what was dropped, then say `ugs sync --accept-rewrite`",
                )
            previous = None
        return Fetched(tip, previous, self._retries(previous, tip) if previous else ())

    def accept(self, tip: str) -> None:
        """From now on this commit is in force, also after a restart."""
        self.mirror.accept(tip)

    def snapshot(self, revision: str) -> Snapshot:
        """The repository at a revision; blobs seen before are not parsed again."""
        entries = self.mirror.entries(revision, FOLDERS)
        return read(
            revision, entries, self.mirror.blob, self._cache, lambda path: self._older(revision, path)
        )

    def file(self, revision: str, path: str) -> bytes:
        """A regular file at a revision. Raises ArtifactError when there is none."""
        data = self.mirror.blob_at(revision, path)
        if data is None:
            raise ArtifactError(
                f"{path} is no regular file at {revision[:12]}", "commit the file, or mend the path"
            )
        return data

    def asked(self, tip: str, environment: str, service: str, work: Workload | None, frozen: Frozen) -> Asked:
        """The first-parent commit since which the environment asks for `work` (None: for a removal of what runs),
        who wrote it, and what it changed of the environment."""
        revision, name = tip, environment
        for then in self._past(tip, environment, service, frozen):
            if not then.asks(service, work):
                break
            revision, name = then.commit.sha, then.name
        [commit] = self.mirror.log(None, revision, limit=1)
        first = commit.parents[0] if commit.parents else None
        brought = self.mirror.log(first, revision, first_parent=False, limit=NEW_COMMITS_MAX)
        after = self.snapshot(revision)
        release = after.releases.get((service, work.target.version.text)) if work else None
        since = after.environments.get(name)
        past = self.snapshot(first).environments if first else {}
        former = past.get(since.renamed_from) if since and since.renamed_from else None
        return Asked(
            revision=revision,
            authors=tuple(sorted({who for one in (commit, *brought) for who in (one.author, one.email)})),
            before=past.get(name, former),
            since=since,
            urgency=release.upgrade.urgency if release else None,
        )

    def workload_of(
        self, tip: str, environment: str, service: str, target: Target, frozen: Frozen
    ) -> Workload | None:
        """What describes a running target, from the recent past of the repository."""
        for then in self._past(tip, environment, service, frozen):
            candidate = then.desired.workloads.get(service) if then.desired else None
            if candidate is not None and candidate.target == target:
                return replace(candidate, environment=environment)
        return None

    def _past(self, tip: str, environment: str, service: str, frozen: Frozen) -> Iterator[Then]:
        """The commits that may have changed what the environment asks of a service, the newest first, also under
        the names that it had before."""
        name, start, left = environment, tip, HISTORY_MAX
        while start and left > 0:
            until, start = start, ""
            paths = (f"environments/{name}.yaml", f"environments/{name}", f"releases/{service}")
            for commit in self.mirror.log(None, until, paths=paths, first_parent=True, limit=left):
                left -= 1
                snapshot = self.snapshot(commit.sha)
                desired = desiring.resolve(snapshot, frozen).get(name)
                yield Then(commit, name, desired, name in snapshot.blind)
                if old := self._renamed_at(commit, desired):
                    name, start = old, commit.parents[0]
                    break

    def _renamed_at(self, commit: Commit, desired: Desired | None) -> str:
        """The name that the environment had until this very commit; empty when it had none."""
        old = desired.environment.renamed_from if desired else None
        if desired is None or old is None or not commit.parents:
            return ""
        before = self.snapshot(commit.parents[0])
        return old if desired.environment.name not in before.environments.keys() | before.blind else ""

    def _older(self, revision: str, path: str) -> Iterator[tuple[str, bytes]]:
        for commit in self.mirror.log(None, revision, paths=(path,), first_parent=True, limit=OLDER_MAX)[1:]:
            data = self.mirror.blob_at(commit.sha, path)
            if data is not None:
                yield commit.sha, data

    def _retries(self, previous: str, tip: str) -> tuple[Retry, ...]:
        commits = self.mirror.log(previous, tip, first_parent=False, limit=NEW_COMMITS_MAX)
        return tuple(
            Retry(value, commit.sha, f"{commit.author} <{commit.email}>")
            for commit in reversed(commits)
            for key, value in commit.trailers
            if key == RETRY_TRAILER
        )
