"""Talking to the remote: what its branch is, fetching it, pushing to it, never by force."""

from __future__ import annotations

import re

from reconciler.git.call import Git
from reconciler.git.errors import PushRefused, PushRejected, from_remote, remedy_for
from reconciler.model.errors import HostError, TransientError

FETCHED_REF = "refs/ugs/fetched"
NOTES_REF = "refs/notes/ugs"
NOTES_FETCHED_REF = "refs/ugs/notes-fetched"
# A pattern, because a ref that is named outright must exist, and the notes do not until the first deployment.
NOTES_REFSPEC = f"+{NOTES_REF}*:{NOTES_FETCHED_REF}*"
NOTHING_FOUND = 2

_REPORT = re.compile(r"^!\t[^\t]*\t\[(?P<kind>[^\]]*)\] ?(\((?P<reason>.*)\))?$", re.MULTILINE)
# Said of a ref that somebody else moved in the very moment: the same as having come too late.
_RACE = re.compile(
    r"cannot lock ref|failed to (update|lock) ref|incorrect old value|fetch first|non-fast-forward"
)


def tip(git: Git) -> str:
    """The commit that the remote's branch is at, without fetching it."""
    result, said = git.network(
        "ls-remote", "--quiet", "--exit-code", "--end-of-options", git.remote.url, git.remote.ref
    )
    if result.code not in {0, NOTHING_FOUND}:
        raise from_remote(git.remote.url, said)
    for line in result.stdout.decode("utf-8", "replace").splitlines():
        sha, _, name = line.partition("\t")
        if name == git.remote.ref:
            return sha
    raise HostError(
        f"{git.remote.url}: there is no branch {git.remote.branch}",
        "push the branch, or set repository.branch",
    )


def fetch(git: Git, *refspecs: str) -> None:
    """Bring these refs of the remote here."""
    options = (
        "--quiet",
        "--no-tags",
        "--no-auto-maintenance",
        "--no-write-fetch-head",
        "--no-recurse-submodules",
    )
    with git.writing():
        result, said = git.network("fetch", *options, "--end-of-options", git.remote.url, *refspecs)
    if result.code != 0:
        raise from_remote(git.remote.url, said)


def push(git: Git, sha: str, ref: str) -> None:
    """Move the remote's ref forward to `sha`. Raises PushRejected, PushRefused, TransientError or HostError.

    After a TransientError the push may have arrived all the same: ask the remote.
    """
    # Plain push: a force would erase a colleague's fix. No pre-push hook: the mirror has none of its own.
    result, said = git.network(
        "push",
        "--porcelain",
        "--no-verify",
        "--no-follow-tags",
        "--end-of-options",
        git.remote.url,
        f"{sha}:{ref}",
    )
    if result.code == 0:
        return
    report = _REPORT.search(result.stdout.decode("utf-8", "replace"))
    what = f"{git.remote.url}: push of {sha[:10]} to {ref}"
    if report is None:
        error = from_remote(what, said)
        # Trouble of this machine looks the same on a fetch; what only a push is told is a refusal.
        raise PushRefused(error.message, error.remedy) if isinstance(error, HostError) else error
    kind, reason = report["kind"], report["reason"] or ""
    if kind == "rejected" or _RACE.search(reason):
        raise PushRejected(f"{what} came too late ({reason})", "fetch, and try again")
    if kind == "remote failure":
        raise TransientError(f"{what}: {said}", "ask whether it arrived")
    raise PushRefused(f"{what} was refused ({reason}): {said}", _refusal_remedy(said))


def _refusal_remedy(said: str) -> str:
    if "refusing to update checked out branch" in said:
        return "use a bare repository, or check out another branch there"
    return remedy_for(said) or "allow this user to push to it, or set policy.revert to off"
