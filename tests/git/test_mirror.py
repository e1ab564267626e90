"""Following a branch: what is fetched, what is seen of it, and what is in force."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from reconciler.git import Mirror, Remote
from reconciler.model.errors import HostError, UgsError
from tests.git.children import children
from tests.git.colleague import ENVIRONMENT, Colleague, git
from tests.git.conftest import OpenMirror


def test_a_fetch_brings_the_tip_and_the_files_at_it(mirror: Mirror, ada: Colleague) -> None:
    sha = ada.merges(
        {"environments/production.yaml": "pins: {}\n", "releases/api/1.5.0.yaml": "service: api\n"}
    )
    assert mirror.poll() == sha
    assert mirror.fetch() == sha
    found = {entry.path: entry for entry in mirror.entries(sha, ["releases", "environments"])}
    assert sorted(found) == ["environments/production.yaml", "releases/api/1.5.0.yaml"]
    release = found["releases/api/1.5.0.yaml"]
    assert (release.mode, release.size) == ("100644", len("service: api\n"))
    assert mirror.blob(release.oid) == b"service: api\n"
    assert mirror.blob_at(sha, "releases/api/1.5.0.yaml") == b"service: api\n"


def test_a_fetch_brings_the_branch_and_the_notes_and_nothing_else(
    mirror: Mirror, ada: Colleague, tmp_path: Path
) -> None:
    ada.git("tag", "v1")
    ada.git("notes", "--ref=ugs", "add", "--message=hello")
    ada.git("push", "--quiet", "origin", "HEAD:refs/heads/other", "v1", "refs/notes/ugs")
    mirror.fetch()
    refs = git(tmp_path / "state" / "mirror.git", "for-each-ref", "--format=%(refname)").split()
    assert refs == ["refs/ugs/fetched", "refs/ugs/notes-fetched"]


def test_every_mode_is_listed_and_only_regular_files_are_read(mirror: Mirror, ada: Colleague) -> None:
    (ada.folder / "releases").mkdir()
    (ada.folder / "releases" / "link.yaml").symlink_to("../README.md")
    (ada.folder / "releases" / "run.sh").write_text("#!/bin/sh\n")
    (ada.folder / "releases" / "run.sh").chmod(0o755)
    module = f"160000,{ada.git('rev-parse', 'HEAD')},releases/module"
    ada.git("update-index", "--add", "--cacheinfo", module)
    ada.git("add", "releases/link.yaml", "releases/run.sh")
    ada.git("commit", "--quiet", "--message=Modes")
    ada.push()
    tip = mirror.fetch()
    modes = {entry.path: entry.mode for entry in mirror.entries(tip, ["releases"])}
    assert modes == {"releases/link.yaml": "120000", "releases/module": "160000", "releases/run.sh": "100755"}
    assert mirror.blob_at(tip, "releases/link.yaml") is None
    assert mirror.blob_at(tip, "releases/module") is None
    assert mirror.blob_at(tip, "releases") is None
    assert mirror.blob_at(tip, "releases/run.sh") == b"#!/bin/sh\n"


@pytest.mark.parametrize(
    "path",
    ["absent", "", "/etc/passwd", "../up", "a/../b", "--help", "a\0b", ":(top)README.md", "*.md", "x" * 5000],
)
def test_a_path_that_is_no_file_here_is_none(mirror: Mirror, path: str) -> None:
    assert mirror.blob_at(mirror.fetch(), path) is None


def test_odd_paths_are_listed_and_read(mirror: Mirror, ada: Colleague) -> None:
    sha = ada.merges({'releases/a "b"\n\tç/-x.yaml': "odd\n"})
    mirror.fetch()
    (entry,) = mirror.entries(sha, ["releases"])
    assert entry.path == 'releases/a "b"\n\tç/-x.yaml'
    assert mirror.blob_at(sha, entry.path) == b"odd\n"


def test_a_file_too_big_to_be_held_is_refused(
    mirror: Mirror, ada: Colleague, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = ada.merges({"big.tar": "x" * 1000})
    mirror.fetch()
    monkeypatch.setattr("reconciler.git.objects.FILE_BYTES_MAX", 999)
    with pytest.raises(UgsError, match=r"big\.tar: 1000 bytes are too many; at most 999"):
        mirror.blob_at(sha, "big.tar")


def test_what_is_accepted_is_kept(mirror: Mirror, open_mirror: OpenMirror) -> None:
    assert mirror.accepted() is None
    tip = mirror.fetch()
    mirror.accept(tip)
    assert mirror.accepted() == tip
    mirror.close()
    assert open_mirror().accepted() == tip


@pytest.mark.fault("GT-03")
def test_a_rewritten_branch_is_fetched_and_seen_as_such(mirror: Mirror, ada: Colleague) -> None:
    before = ada.merges({"README.md": "one\n"})
    mirror.accept(mirror.fetch())
    ada.git("reset", "--quiet", "--hard", "HEAD~1")
    after = ada.commit({"README.md": "other\n"})
    ada.push("--force")
    assert mirror.fetch() == after
    assert mirror.accepted() == before
    assert not mirror.is_ancestor(before, after)
    assert mirror.blob_at(before, "README.md") == b"one\n"


def test_ancestors_are_found_and_unknown_commits_are_none(mirror: Mirror, ada: Colleague) -> None:
    older = mirror.fetch()
    newer = ada.merges({"README.md": "two\n"})
    mirror.fetch()
    assert mirror.is_ancestor(older, newer)
    assert mirror.is_ancestor(newer, newer)
    assert not mirror.is_ancestor(newer, older)
    assert not mirror.is_ancestor("1" * 40, newer)


@pytest.mark.parametrize("revision", ["main", "--all", "HEAD~1", "a" * 39, "A" * 40, "0" * 40])
def test_a_revision_is_a_full_id_or_a_bug(mirror: Mirror, revision: str) -> None:
    with pytest.raises(ValueError, match="is not a full object id"):
        mirror.entries(revision, [])


@pytest.mark.fault("GT-17")
def test_a_missing_branch_is_named(open_mirror: OpenMirror, origin: Path, ada: Colleague) -> None:
    # A reference whose name merely ends like the branch's is not the branch.
    ada.git("push", "--quiet", "origin", "HEAD:refs/other/refs/heads/release")
    mirror = open_mirror(remote=Remote(str(origin), "release", environment=ENVIRONMENT))
    for call in (mirror.fetch, mirror.poll):
        with pytest.raises(
            HostError, match=r"refs/heads/release; push the branch, or set repository\.branch"
        ):
            call()


def test_a_folder_that_is_no_repository_is_named(open_mirror: OpenMirror, tmp_path: Path) -> None:
    mirror = open_mirror(remote=Remote(str(tmp_path), environment=ENVIRONMENT))
    with pytest.raises(HostError, match=r"does not appear to be a git repository.*check repository\.url"):
        mirror.fetch()
    with pytest.raises(HostError, match=r"check repository\.url"):
        mirror.poll()


def test_a_file_url_and_another_branch_work_too(
    open_mirror: OpenMirror, origin: Path, ada: Colleague
) -> None:
    ada.git("push", "--quiet", "origin", "HEAD:refs/heads/live/eu")
    mirror = open_mirror(remote=Remote(f"file://{origin}", "live/eu", environment=ENVIRONMENT))
    assert mirror.fetch() == ada.git("rev-parse", "HEAD")


def test_a_name_that_git_does_not_allow_is_no_branch(open_mirror: OpenMirror, origin: Path) -> None:
    with pytest.raises(UgsError, match=r"repository\.branch: 'a\.lock' is not a branch name"):
        open_mirror(remote=Remote(str(origin), "a.lock", environment=ENVIRONMENT))


def test_a_poll_fetches_where_there_is_news_of_the_branch_or_of_the_notes(
    mirror: Mirror, ada: Colleague, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    own = mirror.fetch

    def counted() -> str:
        fetched.append(own())
        return fetched[-1]

    monkeypatch.setattr(mirror, "fetch", counted)
    first = mirror.poll()
    assert (mirror.poll(), fetched) == (first, [first])
    second = ada.merges({"README.md": "more\n"})
    assert (mirror.poll(), mirror.poll(), fetched) == (second, second, [first, second])
    ada.git("notes", "--ref", "ugs", "add", "-m", "a note", second)
    ada.git("push", "--quiet", "origin", "refs/notes/ugs")
    assert (mirror.poll(), fetched) == (second, [first, second, second])
    assert mirror.notes(second) == ["a note"]


def test_the_commit_in_force_is_moved_by_one_process_that_may_die(
    mirror: Mirror, ada: Colleague, tmp_path: Path
) -> None:
    folder = tmp_path / "state" / "mirror.git"
    tips = [mirror.fetch(), *(ada.merges({"README.md": f"{number}\n"}) for number in range(3))]
    mirror.fetch()
    for tip in tips[:2]:
        mirror.accept(tip)
        assert git(folder, "rev-parse", "refs/ugs/accepted") == tip
    (one,) = children(folder, "update-ref")
    os.kill(one, signal.SIGKILL)
    mirror.accept(tips[2])
    (another,) = children(folder, "update-ref")
    assert another != one
    (folder / "refs" / "ugs" / "accepted.lock").touch()  # left by a git that was killed
    git(folder, "pack-refs", "--all")
    mirror.accept(tips[3])
    assert git(folder, "rev-parse", "refs/ugs/accepted") == tips[3]
    assert children(folder, "update-ref") == []  # a git of its own did it
    with pytest.raises(HostError, match="git update-ref failed"):
        mirror.accept("1" * 40)
    assert git(folder, "rev-parse", "refs/ugs/accepted") == tips[3] == mirror.accepted()
    mirror.accept(tips[0])
    assert len(children(folder, "update-ref")) == 1
    mirror.close()
    assert git(folder, "rev-parse", "refs/ugs/accepted") == tips[0]
    assert children(folder, "update-ref") == []
