"""How far a daemon's database had come, kept on the remote: one ref for each daemon, moved forward only."""

from __future__ import annotations

from datetime import datetime

from reconciler.git import transfer
from reconciler.git.call import Git
from reconciler.git.commit import Identity, build

REMOTE = "refs/ugs/state/"
FETCHED = "refs/ugs/state-fetched/"


def read(git: Git, daemon: str) -> str | None:
    """What the remote keeps for this daemon: one line, None when it keeps nothing."""
    # A pattern, because a ref that is named outright must exist. Forced: it is the remote's to say.
    transfer.fetch(git, f"+{REMOTE}{daemon}*:{FETCHED}{daemon}*")
    tip = git.ref(f"{FETCHED}{daemon}")
    return _line(git, tip) if tip else None


def write(git: Git, daemon: str, line: str, identity: Identity, *, at: datetime) -> None:
    """Put a line on top of what was read last. Raises PushRejected when another has done so meanwhile."""
    below = git.ref(f"{FETCHED}{daemon}")
    if below and _line(git, below) == line:
        return
    commit = build(git, below, {}, line, author=identity, committer=identity, at=at)
    transfer.push(git, commit, f"{REMOTE}{daemon}")
    git.set_ref(f"{FETCHED}{daemon}", commit)


def _line(git: Git, sha: str) -> str:
    return git.local("show", "--no-patch", "--format=%s", sha).decode("utf-8", "replace").strip()
