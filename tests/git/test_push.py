"""Pushing: forward only, each failure told apart by what can be done about it, a lost answer asked again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.git import Mirror, PushRefused, PushRejected, Remote
from reconciler.model.errors import TransientError
from tests.git.colleague import AT, ENVIRONMENT, Colleague, git
from tests.git.conftest import OpenMirror

Hook = Callable[[str, str], None]


def revert(mirror: Mirror, message: str = "Revert") -> str:
    return mirror.commit(mirror.fetch(), {"README.md": b"reverted\n"}, message, at=AT)


def test_a_push_moves_the_branch_and_a_second_one_changes_nothing(mirror: Mirror, origin: Path) -> None:
    sha = revert(mirror)
    assert not mirror.contains(sha)
    mirror.push(sha)
    mirror.push(sha)
    assert mirror.contains(sha)
    assert git(origin, "rev-parse", "main") == sha


@pytest.mark.fault("GT-05")
def test_a_push_after_somebody_elses_is_rejected_and_goes_through_on_top_of_it(
    mirror: Mirror, ada: Colleague
) -> None:
    late = revert(mirror)
    theirs = ada.merges({"other.md": "x\n"})
    with pytest.raises(PushRejected, match=r"came too late \(fetch first\); fetch, and try again"):
        mirror.push(late)
    assert not mirror.contains(late)
    with pytest.raises(PushRejected, match="non-fast-forward"):
        mirror.push(late)
    again = revert(mirror)
    mirror.push(again)
    assert mirror.contains(again)
    assert mirror.contains(theirs)


@pytest.mark.fault("GT-05")
def test_a_branch_that_moves_while_we_push_is_a_rejection(mirror: Mirror, ada: Colleague, hook: Hook) -> None:
    ada.commit({"other.md": "x\n"})
    ada.git("push", "--quiet", "origin", "HEAD:refs/heads/theirs")
    sha = revert(mirror)
    hook("update", "git update-ref refs/heads/main refs/heads/theirs")
    with pytest.raises(PushRejected, match="came too late"):
        mirror.push(sha)


@pytest.mark.fault("GT-07")
def test_a_hook_that_declines_is_a_refusal_with_its_words(mirror: Mirror, hook: Hook) -> None:
    hook("pre-receive", "printf 'two \\033[31mapprovals\\033[0m needed\\n' >&2; exit 1")
    sha = revert(mirror)
    with pytest.raises(
        PushRefused, match=r"\(pre-receive hook declined\): remote: two approvals needed"
    ) as refused:
        mirror.push(sha)
    assert "allow this user to push to it, or set policy.revert to off" in str(refused.value)
    assert not mirror.contains(sha)


def test_a_branch_checked_out_at_the_remote_is_refused_with_the_remedy(
    open_mirror: OpenMirror, ada: Colleague
) -> None:
    mirror = open_mirror(remote=Remote(str(ada.folder), environment=ENVIRONMENT))
    with pytest.raises(PushRefused, match="; use a bare repository, or check out another branch there"):
        mirror.push(revert(mirror))


def test_a_remote_that_is_gone_refuses_the_push(mirror: Mirror, origin: Path) -> None:
    sha = revert(mirror)
    origin.rename(origin.with_name("moved.git"))
    with pytest.raises(PushRefused, match=r"does not appear to be a git repository.*; check repository\.url"):
        mirror.push(sha)


@pytest.mark.fault("GT-06")
def test_a_lost_reply_may_pass_and_the_remote_tells_that_it_arrived(mirror: Mirror, hook: Hook) -> None:
    sha = revert(mirror)
    hook("reference-transaction", 'test "$1" = committed && kill -9 $PPID; exit 0')
    with pytest.raises(TransientError):
        mirror.push(sha)
    assert mirror.contains(sha)


@pytest.mark.fault("GT-02")
def test_a_push_that_never_ends_meets_the_time_limit(
    open_mirror: OpenMirror, mirror: Mirror, hook: Hook
) -> None:
    sha = revert(mirror)
    mirror.close()
    hook("pre-receive", "exec sleep 600")
    hasty = open_mirror(timeout_s=0.5)
    with pytest.raises(TransientError, match=r"git push had no end after 0\.5 s; it is tried again"):
        hasty.push(sha)
