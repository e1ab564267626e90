"""Talking to the remote: what its branch is, fetching it, pushing to it, never over anybody else's work."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.git.call import Git
from reconciler.git.errors import PushRefused, PushRejected, from_remote, plain, remedy_for
from reconciler.model.errors import HostError, TransientError, UgsError

FETCHED_REF = "refs/ugs/fetched"
NOTES_REF = "refs/notes/ugs"
NOTES_FETCHED_REF = "refs/ugs/notes-fetched"
# A pattern, because a ref that is named outright must exist, and the notes do not until the first deployment.
NOTES_REFSPEC = f"+{NOTES_REF}*:{NOTES_FETCHED_REF}*"
TAGS = "refs/tags/"
TAGS_MAX = 20_000
HEADS = "refs/heads/"
BRANCHES_MAX = 500
BRANCH = re.compile(r"refs/heads/[^\x00-\x20\x7f~^:?*\[\\]{1,200}")
"""What git takes for a branch's name, bounded."""
SAID_CHARACTERS_MAX = 100

_REPORT = re.compile(
    r"^!\t[^\t]*:(?P<ref>[^\t]*)\t\[(?P<kind>[^\]]*)\] ?(\((?P<reason>.*)\))?$", re.MULTILINE
)
# No pre-push hook: the mirror has none of its own.
_PUSH = ("push", "--porcelain", "--no-verify", "--no-follow-tags", "--end-of-options")
# Said of a ref that somebody else moved in the very moment: the same as having come too late.
_RACE = re.compile(
    r"cannot lock ref|failed to (update|lock) ref|incorrect old value|already exists|fetch first|non-fast-forward"
)


def check_branch(git: Git) -> None:
    """Raise UgsError where the branch that is followed cannot be one."""
    if git.ask("check-ref-format", git.remote.ref).code != 0:
        raise UgsError(
            f"repository.branch: {git.remote.branch!r} is not a branch name", "name one such as main"
        )


def heads(git: Git) -> bytes:
    """What the remote's branch and its notes are at, as it says it, without fetching them."""
    result, said = git.network(
        "ls-remote", "--quiet", "--end-of-options", git.remote.url, git.remote.ref, f"{NOTES_REF}*"
    )
    if result.code != 0:
        raise from_remote(git.remote.url, said)
    return result.stdout


def branches(git: Git) -> dict[str, str]:
    """The remote's branches by name, BRANCHES_MAX at most, each with the commit that it is at."""
    result, said = git.network("ls-remote", "--quiet", "--heads", "--end-of-options", git.remote.url)
    if result.code != 0:
        raise from_remote(git.remote.url, said)
    lines = result.stdout.decode("utf-8", "replace").splitlines()[:BRANCHES_MAX]
    found = (line.partition("\t") for line in lines)
    return {
        name.removeprefix(HEADS): sha
        for sha, _, name in found
        if name.startswith(HEADS) and BRANCH.fullmatch(name)
    }


def tags(git: Git) -> tuple[str, ...]:
    """The names of the remote's tags, at most TAGS_MAX, without fetching anything."""
    result, said = git.network("ls-remote", "--quiet", "--tags", "--refs", "--end-of-options", git.remote.url)
    if result.code != 0:
        raise from_remote(git.remote.url, said)
    lines = result.stdout.decode("utf-8", "replace").splitlines()
    return tuple(
        name.removeprefix(TAGS) for line in lines if (name := line.partition("\t")[2]).startswith(TAGS)
    )[:TAGS_MAX]


def fetch(git: Git, *refspecs: str, prune: bool = False) -> None:
    """Bring these refs of the remote here; with `prune`, drop those that the remote does not have."""
    options = (
        "--quiet",
        "--no-tags",
        "--no-auto-maintenance",
        "--no-write-fetch-head",
        "--no-recurse-submodules",
        *(("--prune",) if prune else ()),
    )
    with git.writing():
        result, said = git.network("fetch", *options, "--end-of-options", git.remote.url, *refspecs)
    if result.code != 0:
        raise from_remote(git.remote.url, said)


def bring(git: Git, ref: str, into: str, *, kind: str, name: str, remedy: str) -> str:
    """Fetch one ref of the remote, which people know as this kind (`branch`, say) of this name, as `into`; its commit.

    Raises UgsError where that cannot be a name, there is no such ref (with this remedy), or it is no commit; and as
    `fetch` does.
    """
    said = plain(name)[:SAID_CHARACTERS_MAX]
    if "\0" in ref or git.ask("check-ref-format", ref).code != 0:
        raise UgsError(f"{said!r} is no name of a {kind}", f"name a {kind} of the remote")
    try:
        fetch(git, f"+{ref}:{into}")
    except HostError as error:
        if "find remote ref" not in error.message:
            raise
        raise UgsError(f"the remote has no {kind} {said}", remedy) from error
    commit = git.ref(into)
    if commit is None:
        raise UgsError(f"the {kind} {said} is no commit", "push one")
    return commit


def push(git: Git, sha: str, ref: str) -> None:
    """Move the remote's ref forward to `sha`. Raises PushRejected, PushRefused, TransientError or HostError.

    After a TransientError the push may have arrived all the same: ask the remote.
    """
    # Plain push: a force would erase a colleague's fix.
    result, said = git.network(*_PUSH, git.remote.url, f"{sha}:{ref}")
    if result.code == 0:
        return
    what = f"{git.remote.url}: push of {sha[:10]} to {ref}"
    report = _REPORT.search(result.stdout.decode("utf-8", "replace"))
    raise _failure(what, said) if report is None else _reported(what, report, said)


def swap(git: Git, moves: Mapping[str, tuple[str, str]]) -> dict[str, PushRejected | PushRefused]:
    """Move refs of ours, {ref: (value that it must have, empty for none; new value)}, each by itself.

    The answer has those that did not move. Raises as `push` does where nothing is known of any.
    """
    leases = [f"--force-with-lease={ref}:{expected}" for ref, (expected, _) in moves.items()]
    result, said = git.network(
        *_PUSH[:-1], *leases, _PUSH[-1], git.remote.url, *(f"{new}:{ref}" for ref, (_, new) in moves.items())
    )
    reports = list(_REPORT.finditer(result.stdout.decode("utf-8", "replace")))
    if result.code != 0 and not reports:
        raise _failure(f"{git.remote.url}: push to {', '.join(moves)}", said)
    failed: dict[str, PushRejected | PushRefused] = {}
    for report in reports:
        error = _reported(f"{git.remote.url}: push to {report['ref']}", report, said)
        if isinstance(error, TransientError):
            raise error
        failed[report["ref"]] = error
    return failed


def _failure(what: str, said: str) -> TransientError | PushRefused:
    """The error for a push of which git reports nothing."""
    error = from_remote(what, said)
    # Trouble of this machine looks the same on a fetch; what only a push is told is a refusal.
    return PushRefused(error.message, error.remedy) if isinstance(error, HostError) else error


def _reported(what: str, report: re.Match[str], said: str) -> TransientError | PushRejected | PushRefused:
    kind, reason = report["kind"], report["reason"] or ""
    if kind == "rejected" or _RACE.search(reason):
        return PushRejected(f"{what} came too late ({reason})", "fetch, and try again")
    if kind == "remote failure":
        return TransientError(f"{what}: {said}", "ask whether it arrived")
    return PushRefused(f"{what} was refused ({reason}): {said}", _refusal_remedy(said))


def _refusal_remedy(said: str) -> str:
    if "refusing to update checked out branch" in said:
        return "use a bare repository, or check out another branch there"
    return remedy_for(said) or "allow this user to push to it, or set policy.revert to off"
