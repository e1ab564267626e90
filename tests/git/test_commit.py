"""Commits that are built without a work tree: exactly the change asked for, and nothing beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.git import Identity, Mirror
from reconciler.model.errors import HostError, UgsError
from tests.git.colleague import AT, Colleague, git


def test_a_commit_changes_one_file_and_is_by_us(mirror: Mirror, tmp_path: Path) -> None:
    parent = mirror.fetch()
    sha = mirror.commit(parent, {"README.md": b"new\n"}, "Say more\n\nUgs-Operation: 1\n", at=AT)
    assert mirror.blob_at(sha, "README.md") == b"new\n"
    folder = tmp_path / "state" / "mirror.git"
    assert git(folder, "diff-tree", "-r", "--name-status", parent, sha) == "M\tREADME.md"
    shown = git(folder, "log", "-1", "--format=%an <%ae> %aI|%cn <%ce> %cI|%B", sha)
    by = "UGS <ugs@example.org> 2026-11-02T09:30:00+00:00"
    assert shown == f"{by}|{by}|Say more\n\nUgs-Operation: 1"
    (commit,) = mirror.log(parent, sha)
    assert (commit.parents, commit.at, commit.trailers) == ((parent,), AT, (("Ugs-Operation", "1"),))


def test_the_same_commit_twice_is_one(mirror: Mirror) -> None:
    parent = mirror.fetch()
    once, twice = (mirror.commit(parent, {"a": b"1"}, "Same", at=AT) for _ in range(2))
    assert once == twice


def test_somebody_else_can_be_the_author(mirror: Mirror) -> None:
    parent = mirror.fetch()
    sha = mirror.commit(parent, {}, "Retry", author=Identity("Ada <b>\nx", "ada@example.org>"), at=AT)
    (commit,) = mirror.log(parent, sha)
    assert (commit.author, commit.email) == ("Ada b x", "ada@example.org")


def test_no_changes_make_an_empty_commit(mirror: Mirror) -> None:
    parent = mirror.fetch()
    sha = mirror.commit(parent, {}, "Retry\n\nUgs-Retry: 1", at=AT)
    assert sha != parent
    assert mirror.entries(sha, []) == mirror.entries(parent, [])


def test_modes_are_kept_folders_come_and_go(mirror: Mirror, ada: Colleague) -> None:
    (ada.folder / "run.sh").write_text("old\n")
    (ada.folder / "run.sh").chmod(0o755)
    parent = ada.merges({"deep/er/file": "x\n", "plain": "x\n"})
    mirror.fetch()
    changes = {
        "run.sh": b"new\n",
        "deep/er/file": None,
        "plain": None,
        "plain/inside": b"y\n",
        "absent": None,
    }
    sha = mirror.commit(parent, changes, "Change", at=AT)
    found = {entry.path: entry.mode for entry in mirror.entries(sha, [])}
    assert found == {
        "README.md": "100644",
        "environments/production.yaml": "100644",
        "plain/inside": "100644",
        "run.sh": "100755",
    }
    assert mirror.blob_at(sha, "run.sh") == b"new\n"


def test_any_path_and_any_bytes_survive(mirror: Mirror) -> None:
    changes = {
        'a "quoted"\\ \n\tç.yaml': bytes(range(256)),
        "--option": b"",
        "done": b"commit refs/heads/x\n",
    }
    sha = mirror.commit(mirror.fetch(), changes, "Odd", at=AT)
    assert {path: mirror.blob_at(sha, path) for path in changes} == changes


@pytest.mark.parametrize(
    "path", ["", "/etc/x", "../x", "a/../x", "a//b", "a/", "./a", ".git/config", "a/.GIT/x", "a\0"]
)
def test_a_path_outside_is_a_bug(mirror: Mirror, path: str) -> None:
    parent = mirror.fetch()
    with pytest.raises(ValueError, match="is not a path inside a repository"):
        mirror.commit(parent, {path: b"x"}, "Escape", at=AT)


def test_a_link_or_a_folder_is_not_overwritten(mirror: Mirror, ada: Colleague) -> None:
    (ada.folder / "link.yaml").symlink_to("README.md")
    parent = ada.merges({})
    mirror.fetch()
    for path in ("link.yaml", "environments"):
        with pytest.raises(
            UgsError, match=f"{path}: not a regular file at {parent}; put a regular file there"
        ):
            mirror.commit(parent, {path: b"x"}, "Overwrite", at=AT)


def test_an_unknown_parent_is_an_error(mirror: Mirror) -> None:
    with pytest.raises(HostError, match="git fast-import failed: fatal: Not a valid commit: 1111"):
        mirror.commit("1" * 40, {}, "Nowhere", at=AT)


def test_a_commit_moves_no_reference_of_meaning(mirror: Mirror) -> None:
    tip = mirror.fetch()
    mirror.accept(tip)
    mirror.commit(tip, {"README.md": b"new\n"}, "Change", at=AT)
    assert mirror.accepted() == tip
    assert mirror.poll() == tip
