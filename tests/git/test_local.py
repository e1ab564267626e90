"""A repository on this machine: found from within, read by what people name, and trusted no further than that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.git import Local
from reconciler.git import objects as git_objects
from reconciler.model.errors import HostError, UgsError
from tests.git.colleague import Colleague, git

PIN = "environments/production.yaml"


@pytest.fixture
def local(ada: Colleague) -> Iterator[Local]:
    with closing(Local(ada.folder)) as opened:
        yield opened


def test_a_clone_is_found_from_a_folder_within_it(ada: Colleague) -> None:
    with closing(Local(ada.folder / "environments")) as local:
        assert local.top == ada.folder
        assert local.revision("HEAD") == ada.git("rev-parse", "HEAD")


def test_a_bare_repository_is_read_alike(origin: Path) -> None:
    with closing(Local(origin)) as local:
        (entry,) = local.entries(local.revision("main"), ["environments"])
        assert (local.top, entry.path) == (origin, PIN)
        assert local.blob(entry.oid) == b'pins:\n  api: "1.4.0"\n'


def test_a_further_working_tree_has_a_head_of_its_own(ada: Colleague, tmp_path: Path) -> None:
    ada.git("worktree", "add", "--quiet", "-b", "bump", str(tmp_path / "further"))
    sha = Colleague.commit(_at(tmp_path / "further"), {PIN: "pins: {}\n"})
    with closing(Local(tmp_path / "further")) as local:
        assert local.revision("HEAD") == sha != ada.git("rev-parse", "HEAD")
        assert local.blob(local.entries(sha, ["environments"])[0].oid) == b"pins: {}\n"


def _at(folder: Path) -> Colleague:
    colleague = Colleague.__new__(Colleague)
    colleague.folder = folder
    return colleague


def test_a_folder_outside_of_any_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UgsError, match="lies in no Git repository; name a clone or a bare repository"):
        Local(tmp_path)


def test_a_pointer_that_leads_nowhere_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").write_bytes(b"gitdir: /no\0where\n")
    with pytest.raises(UgsError, match="lies in no Git repository"):
        Local(tmp_path)


def test_revisions_go_by_branch_tag_and_relation(local: Local, ada: Colleague) -> None:
    first = local.revision("HEAD")
    ada.git("tag", "--annotate", "--message=One", "v1")
    second = ada.commit({"README.md": "more\n"})
    for name, sha in {
        "main": second,
        "HEAD~1": first,
        "v1": first,
        second[:10]: second,
        "origin/main": first,
    }.items():
        assert local.revision(name) == sha


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nowhere",
        "--all",
        "--output=/tmp/x",
        "-1",
        "main..main",
        "^main",
        "main:README.md",
        "a\0b",
        "x" * 2000,
    ],
)
def test_what_is_no_single_commit_is_refused(local: Local, name: str) -> None:
    assert local.find(name) is None
    with pytest.raises(UgsError, match=r"is no commit in .*; name a commit, branch or tag that was fetched"):
        local.revision(name)


def test_what_stood_at_a_path_before(local: Local, ada: Colleague) -> None:
    one = ada.commit({PIN: "one\n"})
    ada.commit({PIN: None, "README.md": "gone\n"})
    two = ada.commit({PIN: "two\n"})
    three = ada.commit({PIN: "three\n"})
    older = list(local.older(three, PIN))
    assert older[:2] == [(two, b"two\n"), (one, b"one\n")]
    assert older[2][1] == b'pins:\n  api: "1.4.0"\n'
    assert list(local.older(three, "no/such")) == []


def test_what_was_in_force_at_an_instant(local: Local, ada: Colleague) -> None:
    days = [
        ada.commit({"README.md": f"{day}\n"}, environment={"GIT_COMMITTER_DATE": f"2035-11-0{day}T12:00:00Z"})
        for day in (1, 2, 3)
    ]
    at = datetime(2035, 11, 2, 12, tzinfo=UTC)
    assert local.at(at, days[2]) == days[1]
    assert local.at(datetime(2035, 11, 2, 11, tzinfo=UTC), days[2]) == days[0]
    assert local.at(datetime(1999, 1, 1, tzinfo=UTC), days[2]) is None


def test_an_object_that_is_not_there_is_the_hosts_trouble(local: Local) -> None:
    with pytest.raises(
        HostError, match=r"cannot be read from .*; run `git fsck`; a partial clone lacks files"
    ):
        local.blob("1" * 40)
    with pytest.raises(HostError, match=r"git ls-tree failed .*; run `git fsck` there"):
        local.entries("1" * 40, [])


def test_a_shallow_clone_says_what_it_lacks(origin: Path, ada: Colleague, tmp_path: Path) -> None:
    first = ada.git("rev-parse", "HEAD")
    ada.merges({"README.md": "more\n"})
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{origin}", "shallow")
    with closing(Local(tmp_path / "shallow")) as local:
        assert len(local.log(None, local.revision("HEAD"))) == 1
        with pytest.raises(UgsError, match="a shallow clone"):
            local.revision(first)


def test_a_partial_clone_of_a_hostile_folder_runs_nothing(origin: Path, tmp_path: Path) -> None:
    """A missing blob would be fetched from the remote, by the program that the clone's configuration names."""
    git(origin, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--no-checkout", "--filter=blob:none", f"file://{origin}", "partial")
    ran = tmp_path / "ran"
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n")
    evil.chmod(0o755)
    for key in ("remote.origin.uploadpack", "core.fsmonitor", "core.sshCommand", "core.pager"):
        git(tmp_path / "partial", "config", key, str(evil))
    with closing(Local(tmp_path / "partial")) as local:
        revision = local.revision("HEAD")
        oid = git(origin, "rev-parse", f"main:{PIN}")
        with pytest.raises(HostError, match="a partial clone lacks files"):
            local.blob(oid)
        assert len(local.log(None, revision)) == 1
    assert not ran.exists()


def test_a_file_too_big_to_be_read_is_passed_over(
    local: Local, ada: Colleague, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.commit({PIN: "long enough\n"})
    tip = ada.commit({PIN: "now\n"})
    monkeypatch.setattr(git_objects, "FILE_BYTES_MAX", 4)
    assert list(local.older(tip, PIN)) == []
