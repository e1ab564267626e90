"""What anybody proposes is looked at beside the mirror: merged there, compared, and thrown away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.git import Aside, Identity, Mirror, Remote
from reconciler.model.errors import HostError, UgsError
from reconciler.model.layout import FOLDERS
from tests.git.colleague import ENVIRONMENT, Colleague, git

HEAD = "refs/pull/1/head"


@pytest.fixture
def aside(mirror: Mirror, ada: Colleague, tmp_path: Path) -> Iterator[Aside]:
    with contextlib.closing(beside(ada, tmp_path)) as made:
        yield made


def beside(ada: Colleague, folder: Path, *, bytes_max: int = 1 << 20) -> Aside:
    remote = Remote(ada.git("remote", "get-url", "origin"), environment=ENVIRONMENT)
    return Aside(
        folder / "state" / "previews.git",
        folder / "state" / "mirror.git",
        remote,
        Identity("UGS", "ugs@example.org"),
        bytes_max=bytes_max,
    )


def proposed(ada: Colleague, files: dict[str, str | None], ref: str = HEAD) -> str:
    """A commit on what Ada has, as the forge keeps it of a fork; its id."""
    ada.git("checkout", "--quiet", "--detach")
    sha = ada.commit(files, "Propose")
    ada.git("push", "--quiet", "--force", "origin", f"HEAD:{ref}")
    ada.git("checkout", "--quiet", "main")
    return sha


def test_it_is_merged_and_compared_and_the_mirror_gets_nothing_of_it(
    aside: Aside, mirror: Mirror, ada: Colleague
) -> None:
    base = ada.merges({"releases/a": "1\n", "other": "1\n"})
    mirror.fetch()
    head = proposed(ada, {"releases/a": "2\n"})
    tip = ada.merges({"releases/b": "1\n"})
    mirror.fetch()
    assert aside.fetch_head(HEAD, base=tip) == head
    merged = aside.merged(tip, head)
    assert merged is not None
    assert merged == aside.merged(tip, head)
    assert aside.blob_at(merged, "releases/a") == b"2\n"
    assert aside.blob_at(merged, "releases/b") == b"1\n"
    assert not aside.alike(tip, merged, FOLDERS)
    assert aside.alike(base, tip, ["other"])
    assert mirror.has(base)
    assert not mirror.has(head)
    assert not mirror.has(merged)


def test_what_conflicts_is_not_merged(aside: Aside, mirror: Mirror, ada: Colleague) -> None:
    ada.merges({"releases/a": "1\n"})
    head = proposed(ada, {"releases/a": "2\n"})
    tip = ada.merges({"releases/a": "3\n"})
    mirror.fetch()
    aside.fetch_head(HEAD, base=tip)
    assert aside.merged(tip, head) is None


def test_a_ref_that_is_gone_or_none_is_said(aside: Aside, mirror: Mirror, ada: Colleague) -> None:
    tip = ada.merges({"a": "1\n"})
    mirror.fetch()
    with pytest.raises(UgsError, match="the remote has no ref refs/pull/9/head; its branch may be gone"):
        aside.fetch_head("refs/pull/9/head", base=tip)
    for odd in ("--upload-pack=x", "refs/heads/a b", ""):
        with pytest.raises(UgsError, match="is no name of a ref"):
            aside.fetch_head(odd, base=tip)


def test_only_what_is_not_here_comes(aside: Aside, mirror: Mirror, ada: Colleague, tmp_path: Path) -> None:
    tip = ada.merges({f"file-{n}": "x" * n for n in range(50)})
    mirror.fetch()
    proposed(ada, {"releases/a": "2\n"})
    aside.fetch_head(HEAD, base=tip)
    own = git(tmp_path / "state" / "previews.git", "count-objects", "--verbose").splitlines()
    assert int(own[0].split()[1]) <= 4  # a commit, two trees, a blob


def test_it_is_made_anew_at_a_start_and_when_it_has_grown(
    mirror: Mirror, ada: Colleague, tmp_path: Path
) -> None:
    tip = ada.merges({"a": "1\n"})
    mirror.fetch()
    first = proposed(ada, {"releases/a": "2\n"})
    with contextlib.closing(beside(ada, tmp_path)) as made:
        made.fetch_head(HEAD, base=tip)
        assert made.has(first)
    with contextlib.closing(beside(ada, tmp_path, bytes_max=0)) as made:
        assert not made.has(first)
        assert made.fetch_head(HEAD, base=tip) == first
        second = proposed(ada, {"releases/a": "3\n"}, "refs/pull/2/head")
        assert made.fetch_head("refs/pull/2/head", base=tip) == second
        assert not made.has(first)
        assert made.blob_at(second, "releases/a") == b"3\n"


def test_a_folder_that_cannot_be_removed_is_said(mirror: Mirror, ada: Colleague, tmp_path: Path) -> None:
    ada.merges({"a": "1\n"})
    (tmp_path / "state" / "previews.git").write_text("no folder")
    with pytest.raises(HostError, match=r"previews\.git"):
        beside(ada, tmp_path)


def test_a_ref_that_is_no_commit_is_said(aside: Aside, mirror: Mirror, ada: Colleague) -> None:
    tip = ada.merges({"a": "1\n"})
    mirror.fetch()
    blob = ada.git("hash-object", "-w", "--stdin", stdin=b"a blob")
    ada.git("push", "--quiet", "origin", f"{blob}:refs/pull/1/head")
    with pytest.raises(UgsError, match="refs/pull/1/head is no commit"):
        aside.fetch_head(HEAD, base=tip)


def test_what_is_not_there_cannot_be_compared(aside: Aside, mirror: Mirror, ada: Colleague) -> None:
    tip = ada.merges({"a": "1\n"})
    mirror.fetch()
    with pytest.raises(HostError, match="git diff-tree failed"):
        aside.alike(tip, "a" * 40, FOLDERS)
