"""Reading history: commits as values, safe to show whatever their authors put into them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from reconciler.git.call import Git, checked
from reconciler.git.errors import plain

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
    argv = ["log", "-z", f"--max-count={limit}", f"--format={'%x00'.join(FIELDS)}", "--no-show-signature"]
    argv += ["--first-parent"] if first_parent else []
    argv += [f"--min-age={int(no_later_than.timestamp())}"] if no_later_than else []
    argv += [checked(until), *([f"^{checked(since)}"] if since else []), "--", *paths]
    fields = git.local(*argv).decode("utf-8", "replace").removesuffix("\0").split("\0")
    return list(_commits(fields))


def find_trailer(git: Git, key: str, value: str, *, until: str, limit: int) -> str | None:
    """The newest commit, of the `limit` newest that `until` reaches, that carries exactly this trailer."""
    commits = log(git, None, until, first_parent=False, limit=limit)
    return next((commit.sha for commit in commits if (key, value) in commit.trailers), None)


def _commits(fields: Sequence[str]) -> Iterator[Commit]:
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
