"""Reading history: in order, bounded, and safe to show whatever its authors wrote."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.git import Mirror
from reconciler.model.errors import HostError
from tests.git.children import children
from tests.git.colleague import Colleague


def bare_of_words(ada: Colleague, parent: str) -> None:
    """Commit what nobody wrote, without a word, in a year that no calendar has."""
    tree = ada.git("rev-parse", "HEAD^{tree}")
    raw = f"tree {tree}\nparent {parent}\nauthor  <> 0 +0000\ncommitter  <> 99999999999999 +0000\n\n"
    ada.git("reset", "--hard", ada.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.encode()))


def test_a_commit_says_who_when_and_what(mirror: Mirror, ada: Colleague) -> None:
    first = mirror.fetch()
    sha = ada.merges(
        {"README.md": "x\n"},
        "Revert api to 1.4.0\n\nUnhealthy.\n\nUgs-Operation: 0123\nUgs-Reason: probe failed:\n  status 500\n",
        GIT_AUTHOR_NAME="Grace",
        GIT_AUTHOR_EMAIL="grace@example.org",
        GIT_AUTHOR_DATE="2026-01-01T00:00:00Z",
        GIT_COMMITTER_DATE="2026-11-02T10:30:00+02:00",
    )
    mirror.fetch()
    (commit,) = mirror.log(first, sha)
    assert (commit.sha, commit.parents) == (sha, (first,))
    assert (commit.author, commit.email) == ("Grace", "grace@example.org")
    assert commit.at == datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
    assert commit.at.tzinfo is UTC
    assert commit.subject == "Revert api to 1.4.0"
    assert commit.trailers == (("Ugs-Operation", "0123"), ("Ugs-Reason", "probe failed: status 500"))


def test_the_log_is_newest_first_and_bounded_at_both_ends(mirror: Mirror, ada: Colleague) -> None:
    first = mirror.fetch()
    shas = [ada.merges({"README.md": f"{number}\n"}) for number in range(3)]
    mirror.fetch()
    assert [commit.sha for commit in mirror.log(first, shas[2])] == shas[::-1]
    assert [commit.sha for commit in mirror.log(None, shas[2], limit=2)] == [shas[2], shas[1]]
    assert mirror.log(shas[2], shas[2]) == []
    assert [commit.parents for commit in mirror.log(None, first)] == [()]


def test_the_log_of_paths_is_of_those_paths_literally(mirror: Mirror, ada: Colleague) -> None:
    first = mirror.fetch()
    ada.commit({"README.md": "1\n"})
    moved = ada.merges({"environments/production.yaml": "pins: {}\n"})
    mirror.fetch()
    assert [commit.sha for commit in mirror.log(first, moved, paths=["environments"])] == [moved]
    assert mirror.log(first, moved, paths=["--all", "*.md"]) == []


def test_a_merge_counts_as_one_unless_its_branch_is_asked_for(mirror: Mirror, ada: Colleague) -> None:
    first = mirror.fetch()
    ada.git("checkout", "--quiet", "-b", "bump")
    bump = ada.commit({"environments/production.yaml": "pins: {}\n"}, "Bump\n\nUgs-Retry: 77")
    ada.git("checkout", "--quiet", "main")
    ada.git("merge", "--quiet", "--no-ff", "--message=Merge bump", "bump")
    ada.push()
    merge = mirror.fetch()
    assert [(commit.sha, commit.parents) for commit in mirror.log(first, merge)] == [(merge, (first, bump))]
    assert {commit.sha for commit in mirror.log(first, merge, first_parent=False)} == {merge, bump}
    assert mirror.find_trailer("Ugs-Retry", "77", until=merge, limit=100) == bump


def test_a_trailer_is_found_exactly_or_not_at_all(mirror: Mirror, ada: Colleague) -> None:
    older = ada.commit({"README.md": "1\n"}, "One\n\nUgs-Operation: abc")
    newer = ada.commit({"README.md": "2\n"}, "Two\n\nUgs-Operation: abc")
    ada.commit({"README.md": "3\n"}, "Three\n\nUgs-Operation: abcd")
    ada.merges(
        {"README.md": "4\n"}, "Four\n\nUgs-Operation: abc is not in the last paragraph\n\nso no trailer"
    )
    tip = mirror.fetch()
    assert mirror.find_trailer("Ugs-Operation", "abc", until=tip, limit=100) == newer
    assert mirror.find_trailer("Ugs-Operation", "abc", until=older, limit=100) == older
    assert mirror.find_trailer("Ugs-Operation", "ab", until=tip, limit=100) is None
    assert mirror.find_trailer("ugs-operation", "abc", until=tip, limit=100) is None
    assert mirror.find_trailer("Ugs-Operation", "abc", until=tip, limit=2) is None


@pytest.mark.fault("HR-15", "AP-11")
def test_a_hostile_author_and_message_are_shown_harmlessly(mirror: Mirror, ada: Colleague) -> None:
    first = mirror.fetch()
    sha = ada.merges(
        {"README.md": "x\n"},
        "\x1b[2J\x1b]0;title\x07Sub\u202eject\x1e\x1f\x01\n\nKey: a\x1e\x1b[31mb",
        GIT_AUTHOR_NAME="Mal\x1b[31m\nlory\x9b\r <fake@example.org>",
        GIT_AUTHOR_EMAIL="mal\x07@example.org",
    )
    mirror.fetch()
    (commit,) = mirror.log(first, sha)
    assert commit.sha == sha
    shown = [
        commit.author,
        commit.email,
        commit.subject,
        *(text for pair in commit.trailers for text in pair),
    ]
    assert all(character.isprintable() for text in shown for character in text)
    assert "lory" in commit.author
    assert commit.subject == "Sub ject"


def test_a_commit_with_no_message_and_no_name_is_read(mirror: Mirror, ada: Colleague) -> None:
    first = mirror.fetch()
    bare_of_words(ada, first)
    ada.push()
    (commit,) = mirror.log(first, mirror.fetch())
    assert (commit.author, commit.email, commit.subject, commit.trailers) == ("", "", "", ())
    assert commit.at.year == 9999


@pytest.mark.fault("HR-15")
def test_an_endless_subject_is_cut(mirror: Mirror, ada: Colleague) -> None:
    first = mirror.fetch()
    sha = ada.merges({"README.md": "x\n"}, "long " * 20_000)
    mirror.fetch()
    (commit,) = mirror.log(first, sha)
    assert len(commit.subject) == 4096


def test_one_commit_is_described_as_the_log_has_it_without_a_process_of_its_own(
    mirror: Mirror, ada: Colleague, tmp_path: Path
) -> None:
    mirror.fetch()
    ada.merges({"README.md": "a\n"}, "Two lines\n\nof text.\n\nUgs-Retry: 77\nUgs-Reason: probe\n  failed\n")
    ada.merges({"README.md": "b\n"}, "\x1b[2JSub\x1e\x1fject\n\nKey: a\x1eb", GIT_AUTHOR_NAME="Mal\x1b\nlory")
    latin = ada.folder / "latin"
    latin.write_bytes("Grüße\n\nUgs-Reason: größer\n".encode("latin-1"))
    ada.git("-c", "i18n.commitEncoding=ISO-8859-1", "commit", "--quiet", "--allow-empty", f"--file={latin}")
    bare_of_words(ada, ada.git("rev-parse", "HEAD"))
    ada.git("checkout", "--quiet", "-b", "aside", "HEAD~1")
    ada.commit({"releases/x.yaml": "1\n"}, "Aside")
    ada.git("checkout", "--quiet", "main")
    ada.git("merge", "--quiet", "--no-ff", "--message=Merge it", "aside")
    ada.push()
    known = mirror.log(None, mirror.fetch(), first_parent=False)
    assert {len(commit.parents) for commit in known} == {0, 1, 2}
    assert any("Grüße" in commit.subject for commit in known)
    assert [mirror.described(commit.sha) for commit in known] == known
    (one,) = children(tmp_path / "state" / "mirror.git", "diff-tree")
    os.kill(one, signal.SIGKILL)
    assert mirror.described(known[0].sha) == known[0]
    with pytest.raises(HostError, match="git log failed"):
        mirror.described("1" * 40)
    with pytest.raises(HostError):
        mirror.described(ada.git("rev-parse", "HEAD:README.md"))
    mirror.close()
    assert children(tmp_path / "state" / "mirror.git", "diff-tree") == []
