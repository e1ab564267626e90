"""Reading history: commits as values, safe to show whatever their authors put into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from reconciler.git import objects
from reconciler.git.call import Git, checked
from reconciler.git.errors import plain
from reconciler.git.lasting import Reader
from reconciler.git.objects import REGULAR, entry_at
from reconciler.model.errors import HostError

OLDER_MAX = 20
TEXT_CHARACTERS_MAX = 4096
FIELDS = (
    "%H",
    "%P",
    "%an",
    "%ae",
    "%ct",
    "%s",
    "%ce",
    "%(trailers:only,unfold,separator=%x1e,key_value_separator=%x1f)",
)
FORMAT = f"--format={'%x00'.join(FIELDS)}"
NOWHERE = ".git"
"""A path that no commit can have: nothing is compared where only the commit itself is asked about."""
INSTANT_S_MAX = 253_402_300_799


class Commit(Struct, frozen=True):
    """One commit. `at` is when it was committed, aware and in UTC; `trailers` are (key, value) in order.

    Texts are one line without control characters, at most TEXT_CHARACTERS_MAX long.
    """

    sha: str
    parents: tuple[str, ...]
    author: str
    email: str
    at: datetime
    subject: str
    trailers: tuple[tuple[str, str], ...]
    committer: str = ""
    """The address of whoever made the commit of it."""

    def is_made_by(self, email: str, trailer: tuple[str, str]) -> bool:
        """Whether it is all of whoever has this address, and carries this trailer."""
        return self.committer == self.email == email and trailer in self.trailers


def log(
    git: Git,
    since: str | None,
    until: str,
    *,
    paths: Sequence[str] = (),
    first_parent: bool = True,
    limit: int,
    no_later_than: datetime | None = None,
) -> list[Commit]:
    """The commits reachable from `until` and not from `since`, newest first, at most `limit` of them.

    With `no_later_than`, only those that were committed by then.
    """
    argv = ["log", "-z", f"--max-count={limit}", FORMAT, "--no-show-signature"]
    argv += ["--first-parent"] if first_parent else []
    argv += [f"--min-age={int(no_later_than.timestamp())}"] if no_later_than else []
    argv += [checked(until), *([f"^{checked(since)}"] if since else []), "--", *paths]
    return list(_commits(git.local(*argv)))


class Described:
    """Single commits, as `log` tells them, from one long-lived process. Shared by all threads."""

    def __init__(self, git: Git) -> None:
        self._git, self._reader = git, Reader(git)

    def commit(self, revision: str) -> Commit:
        """Raises HostError where it is not here."""
        said = self._reader.said(checked(revision), ("-s", "--always", FORMAT), (NOWHERE,))
        # Of what is not here it says nothing of use: `log` says why.
        found = next(_commits(said), None) or next(iter(log(self._git, None, revision, limit=1)), None)
        if found is not None:
            return found
        raise HostError(f"{revision} is no commit", "start again: a broken mirror is made anew")

    def close(self) -> None:
        self._reader.close()


def find_trailer(git: Git, key: str, value: str, *, until: str, limit: int) -> str | None:
    """The newest commit, of the `limit` newest that `until` reaches, that carries exactly this trailer."""
    commits = log(git, None, until, first_parent=False, limit=limit)
    return next((commit.sha for commit in commits if (key, value) in commit.trailers), None)


def older(git: Git, blob: Callable[[str], bytes], revision: str, path: str) -> Iterator[tuple[str, bytes]]:
    """What stood at this path before, each with the commit that brought it, newest first; of OLDER_MAX commits.

    What was no regular file then, or is too large, is passed over.
    """
    for commit in log(git, None, revision, paths=(path,), limit=OLDER_MAX)[1:]:
        entry = entry_at(git, commit.sha, path)
        if entry is not None and entry.mode in REGULAR and entry.size <= objects.FILE_BYTES_MAX:
            yield commit.sha, blob(entry.oid)


def _commits(said: bytes) -> Iterator[Commit]:
    fields = said.decode("utf-8", "replace").removesuffix("\0").split("\0")
    for start in range(0, len(fields) - len(FIELDS) + 1, len(FIELDS)):
        sha, parents, author, email, seconds, subject, committer, trailers = fields[
            start : start + len(FIELDS)
        ]
        yield Commit(
            sha=sha,
            parents=tuple(parents.split()),
            author=_text(author),
            email=_text(email),
            at=_instant(seconds),
            subject=_text(subject),
            trailers=tuple(_trailer(pair) for pair in trailers.split("\x1e") if pair),
            committer=_text(committer),
        )


def _trailer(pair: str) -> tuple[str, str]:
    key, _, value = pair.partition("\x1f")
    return _text(key), _text(value)


def _text(text: str) -> str:
    return plain(text)[:TEXT_CHARACTERS_MAX]


def _instant(seconds: str) -> datetime:
    """A committer may claim any date: one beyond the year 9999 counts as that year's end."""
    return datetime.fromtimestamp(min(int(seconds or 0), INSTANT_S_MAX), UTC)
