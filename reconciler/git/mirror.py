"""The bare mirror: what everything is read from, and the way back to the remote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from reconciler.git import commit, heads, history, objects, signatures, storage, transfer
from reconciler.git.ahead import Ahead
from reconciler.git.call import NETWORK_TIMEOUT_S, OBJECT_ID, Git, checked
from reconciler.git.commit import Identity
from reconciler.git.difference import Differences
from reconciler.git.history import Commit, Described
from reconciler.git.lasting import Writer
from reconciler.git.notes import Notes
from reconciler.git.objects import REGULAR, Entry, Objects
from reconciler.git.remote import Remote
from reconciler.git.signatures import Arrival, Signers
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.layout import File
from reconciler.model.trust import Signature, Touched

ACCEPTED_REF = "refs/ugs/accepted"
LOOKED_AT_REF = "refs/ugs/looked-at"  # the branch that somebody looked at last: never followed
LOG_LIMIT = 1000
TAGS_TIMEOUT_S = 30.0
TIDIED_EVERY = 50  # of so many new tips, the first has Git see whether it should pack what has gathered


class Mirror:
    """A bare repository that follows one branch of one remote. No working tree, no index.

    Safe to use from several threads of one process; the caller keeps other processes away. Revisions are
    full commit ids. Besides what a method names, every one may raise HostError, and those that talk to the
    remote (`fetch`, `poll`, `push`, `contains`, `add_notes`, `head_of`, `keep_head`) TransientError.
    """

    def __init__(
        self,
        path: Path,
        remote: Remote,
        identity: Identity,
        *,
        signers: Signers | None = None,
        network_timeout_s: float = NETWORK_TIMEOUT_S,
    ) -> None:
        """Open the mirror, make it when absent, and make it anew when it is broken.

        `signers`: whose signatures count, for those who ask `signatures`.
        """
        self.signers = signers
        self._git = Git(path.absolute(), remote, network_timeout_s=network_timeout_s)
        self._identity = identity
        transfer.check_branch(self._git)
        self._prepare()

    def _prepare(self) -> None:
        storage.prepare(self._git)
        self._objects = Objects(self._git)
        self._accepted: str | None = None  # as this process, which alone writes it, has it last
        self._fetched: str | None = None  # the tip that was fetched last
        self._news = 0  # how many tips were new
        self._polled: tuple[bytes, str] | None = None
        """What the remote said of its refs, and the tip that was fetched then."""
        self._differences = Differences(self._git, self._objects)
        self._described = Described(self._git)
        self._writer = Writer(self._git)
        self._notes = Notes(self._git, self._objects, self._identity)

    def close(self) -> None:
        """End the readers. The mirror itself stays."""
        for one in (self._writer, self._described, self._differences, self._objects):
            one.close()

    def fetch(self) -> str:
        """Bring the branch and the notes here; the branch's tip, also when it was rewritten."""
        # Forced, so that a rewritten branch can be seen; whether it is accepted is decided elsewhere.
        transfer.fetch(self._git, f"+{self._git.remote.ref}:{transfer.FETCHED_REF}", transfer.NOTES_REFSPEC)
        tip = self._objects.commit_at(transfer.FETCHED_REF)
        if tip != self._fetched:
            self._fetched = tip
            if self._news % TIDIED_EVERY == 0:
                with suppress(TransientError), self._git.writing():
                    self._git.ask("gc", "--auto", "--quiet")  # Mere tidiness: it may fail.
            self._news += 1
        return tip

    def poll(self) -> str:
        """The same, where the remote has been asked first whether there is any news since `poll` fetched last."""
        heads = transfer.heads(self._git)
        if self._polled is None or self._polled[0] != heads:
            self._polled = heads, self.fetch()
        return self._polled[1]

    def fetch_branch(self, name: str) -> str:
        """Bring another branch of the remote here, to be looked at; its tip. Raises UgsError where there is none."""
        ref = f"refs/heads/{name}"
        return transfer.bring(self._git, ref, LOOKED_AT_REF, kind="branch", name=name, remedy="push it first")

    def branch(self, name: str) -> str | None:
        """The tip of another branch of the remote, brought here; None where there is no such branch."""
        try:
            return self.fetch_branch(name)
        except (HostError, TransientError):
            raise
        except UgsError:
            return None

    def push_branch(self, sha: str, name: str, *, expected: str | None) -> None:
        """Make another branch of the remote stand at `sha`, where it stands at `expected` (None: is not there).

        Raises PushRejected where it stands elsewhere, PushRefused when the remote will not have it.
        """
        ref = f"refs/heads/{name}"
        for error in transfer.swap(self._git, {ref: (expected or "", checked(sha))}).values():
            raise error

    def drop_branch(self, name: str, *, expected: str) -> None:
        """Delete another branch of the remote, where it stands at `expected`. Raises as `push_branch` does."""
        ref = f"refs/heads/{name}"
        for error in transfer.swap(self._git, {ref: (checked(expected), "")}).values():
            raise error

    def has(self, revision: str) -> bool:
        """Whether a commit, named in full, is here."""
        known = OBJECT_ID.fullmatch(revision) is not None
        return known and self._git.ask("cat-file", "-e", f"{revision}^{{commit}}").code == 0

    def accepted(self) -> str | None:
        """The tip in force, as `accept` last had it."""
        if self._accepted is None:
            self._accepted = self._git.ref(ACCEPTED_REF)
        return self._accepted

    def accept(self, sha: str) -> None:
        """Put a fetched commit in force. Durable when this returns."""
        self._writer.set_ref(ACCEPTED_REF, sha)
        self._accepted = sha

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` has `older` in its history, or is it. False also where one of them is not here."""
        return self._git.ask("merge-base", "--is-ancestor", checked(older), checked(newer)).code == 0

    def merge_base(self, one: str, other: str) -> str | None:
        """The newest commit that both have in their histories; None where there is none."""
        result = self._git.ask("merge-base", checked(one), checked(other))
        return result.stdout.decode("ascii").strip() or None if result.code == 0 else None

    def merged_tree(self, one: str, other: str) -> str | None:
        """The tree that comes of merging both, as Git does it by itself; None where they are in each other's way, or
        one of them is not here."""
        result = self._git.ask("merge-tree", "--write-tree", "--no-messages", checked(one), checked(other))
        return result.stdout.decode("ascii").strip() if result.code == 0 else None

    def branches(self) -> dict[str, str]:
        """Every branch of the remote and the commit that it is at, without fetching anything."""
        return transfer.branches(self._git)

    def tags_of(self, other: Remote) -> tuple[str, ...]:
        """The tags of another repository, which nothing is fetched of."""
        return transfer.tags(Git(self._git.path, other, network_timeout_s=TAGS_TIMEOUT_S))

    def entries(self, revision: str, folders: Sequence[str]) -> list[Entry]:
        """Every path under these folders, whatever its mode: what may be read is the reader's to say."""
        return objects.entries(self._git, revision, folders)

    def differences(self, older: str, newer: str, folders: Sequence[str]) -> Mapping[str, Entry | None]:
        """By path under these folders, what stands there in `newer` and stood otherwise, or not at all, in `older`."""
        return self._differences.between(older, newer, folders)

    def blob(self, oid: str) -> bytes:
        """A blob's bytes, from the persistent reader. Raises TransientError when it is not here."""
        return self._objects.blob(oid)

    def blobs(
        self, wanted: Iterable[File], told: Callable[[int, int], None] = lambda _done, _total: None
    ) -> Callable[[str], bytes]:
        """The same for many, which are wanted in about this order; `told` hears how many were read, of how many."""
        return Ahead(self._git, self.blob, wanted, told)

    def blob_at(self, revision: str, path: str) -> bytes | None:
        """The bytes of a regular file; None where there is none. Raises UgsError beyond FILE_BYTES_MAX."""
        entry = objects.entry_at(self._git, revision, path)
        if entry is None or entry.mode not in REGULAR:
            return None
        if entry.size > objects.FILE_BYTES_MAX:
            raise UgsError(
                f"{path}: {entry.size} bytes are too many",
                f"at most {objects.FILE_BYTES_MAX} are read from Git",
            )
        return self.blob(entry.oid)

    def log(
        self,
        since: str | None,
        until: str,
        *,
        paths: Sequence[str] = (),
        first_parent: bool = True,
        limit: int = LOG_LIMIT,
    ) -> list[Commit]:
        """The commits that `until` reaches and `since` does not, newest first."""
        return history.log(self._git, since, until, paths=paths, first_parent=first_parent, limit=limit)

    def described(self, revision: str) -> Commit:
        """One commit, without a process of its own."""
        return self._described.commit(revision)

    def older(self, revision: str, path: str) -> Iterator[tuple[str, bytes]]:
        """What stood at this path before, each with the commit that brought it, newest first; bounded."""
        return history.older(self._git, self.blob, revision, path)

    def find_trailer(self, key: str, value: str, *, until: str, limit: int) -> str | None:
        """The newest of the `limit` commits before and at `until` that carries exactly this trailer."""
        return history.find_trailer(self._git, key, value, until=until, limit=limit)

    def arrivals(self, since: str | None, tip: str, *, everything: bool) -> list[Arrival]:
        """The first-parent commits of `tip` beyond `since`, oldest first; with `everything`, and what each merged."""
        return signatures.arrivals(self._git, since, tip, everything=everything)

    def signatures(self, commits: Sequence[str]) -> list[Signature]:
        """What stands of the signature of each commit. Only where there are `signers`."""
        if self.signers is None:
            raise RuntimeError("nothing says whose signatures count")
        return signatures.verify(self._git, self.signers, commits)

    def touched(self, arrived: Sequence[Arrival], paths: Sequence[str]) -> dict[str, list[Touched]]:
        """By commit, the files under these paths in which it differs from its first parent."""
        return signatures.touched(self._git, arrived, paths)

    def own_signature(self, *, at: datetime) -> Signature:
        """What would be found of a commit of ours, tried with one that no reference keeps."""
        sample = commit.build(
            self._git, None, {}, "Try the key", author=self._identity, committer=self._identity, at=at
        )
        return self.signatures([sample])[0]

    def commit(
        self,
        parent: str,
        changes: Mapping[str, bytes | None],
        message: str,
        *,
        author: Identity | None = None,
        at: datetime,
    ) -> str:
        """A new commit on `parent`: these files with these bytes, or removed where None. No ref moves.

        A file keeps its mode; a new one is not executable; a folder left empty vanishes; no changes make an
        empty commit. The same arguments give the same id. Raises UgsError where no regular file stands.
        """
        return commit.build(
            self._git,
            parent,
            commit.modes_kept(self._git, parent, changes),
            message,
            author=author or self._identity,
            committer=self._identity,
            at=at,
        )

    def push(self, sha: str) -> None:
        """Move the remote's branch forward to `sha`, never by force.

        Raises PushRejected when the branch has moved on, PushRefused when the remote will not have it.
        After a TransientError it may have arrived all the same: ask `contains`.
        """
        transfer.push(self._git, checked(sha), self._git.remote.ref)

    def contains(self, sha: str) -> bool:
        """Whether the remote's branch has this commit now."""
        return self.is_ancestor(sha, self.fetch())

    def notes(self, sha: str) -> list[str]:
        """The JSON lines of the note at a commit: the remote's as last fetched, and ours not pushed yet."""
        return self._notes.at(sha)

    def all_notes(self) -> dict[str, list[str]]:
        """The JSON lines of every note, by commit; likewise."""
        return self._notes.all()

    def head_of(self, daemon: str) -> str | None:
        """How far the database of this daemon had come, as the remote keeps it: one line."""
        return heads.read(self._git, daemon)

    def keep_head(self, daemon: str, line: str, *, at: datetime) -> None:
        """Let the remote keep that line; does nothing where it was the last that is known there."""
        heads.write(self._git, daemon, line, self._identity, at=at)

    def add_notes(self, lines: Mapping[str, Mapping[str, str]], *, at: datetime) -> None:
        """Add {commit: {operation: one JSON line}} to the notes here and on the remote.

        A line takes the place of an older one of its operation; nobody else's is lost. What could not be
        pushed (PushRefused and PushRejected too) is kept, and goes along with the next.
        """
        self._notes.add(lines, at=at)
