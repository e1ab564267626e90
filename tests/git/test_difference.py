"""What differs between two commits, from one long-lived process."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from reconciler.git import Mirror
from reconciler.git.objects import Entry
from reconciler.model.errors import TransientError
from reconciler.model.layout import FOLDERS
from tests.git.children import children
from tests.git.colleague import Colleague


def listed(mirror: Mirror, revision: str) -> dict[str, Entry]:
    return {entry.path: entry for entry in mirror.entries(revision, FOLDERS)}


def expected(mirror: Mirror, older: str, newer: str) -> Mapping[str, Entry | None]:
    before, after = listed(mirror, older), listed(mirror, newer)
    return {path: after.get(path) for path in before | after if before.get(path) != after.get(path)}


def comparers(tmp_path: Path) -> list[int]:
    return children(tmp_path / "state" / "mirror.git", "diff-tree")


def test_it_says_what_was_added_changed_moved_and_removed_both_ways(
    mirror: Mirror, ada: Colleague, tmp_path: Path
) -> None:
    first = ada.merges({"releases/a.yaml": "a\n", "releases/b/c.yaml": "c\n", "src/x": "1\n"})
    second = ada.merges(
        {
            "releases/a.yaml": "other\n",
            "releases/ü\n.yaml": "new\n",
            "releases/b/c.yaml": None,
            "src/x": "2\n",
        }
    )
    mirror.fetch()
    for older, newer in ((first, second), (second, first), (first, first)):
        assert mirror.differences(older, newer, FOLDERS) == expected(mirror, older, newer)
    assert len(comparers(tmp_path)) == 1
    mirror.close()
    assert comparers(tmp_path) == []


def test_a_path_cannot_pass_for_the_end_of_an_answer(mirror: Mirror, ada: Colleague) -> None:
    first = ada.merges({"releases/a.yaml": "a\n"})
    second = ada.merges({"releases/end-0\n": "x\n", f"releases/{first} {first}\n": "y\n"})
    mirror.fetch()
    assert mirror.differences(first, second, FOLDERS) == expected(mirror, first, second)


def test_what_was_fetched_since_is_compared_too(mirror: Mirror, ada: Colleague) -> None:
    first = ada.merges({"releases/a.yaml": "a\n"})
    mirror.fetch()
    assert mirror.differences(first, first, FOLDERS) == {}
    second = ada.merges({"releases/a.yaml": "b\n"})
    mirror.fetch()
    assert mirror.differences(first, second, FOLDERS).keys() == {"releases/a.yaml"}


def test_a_process_that_died_is_started_again(mirror: Mirror, ada: Colleague, tmp_path: Path) -> None:
    first = ada.merges({"releases/a.yaml": "a\n"})
    second = ada.merges({"releases/a.yaml": "b\n"})
    mirror.fetch()
    assert mirror.differences(first, second, FOLDERS)
    (one,) = comparers(tmp_path)
    os.kill(one, signal.SIGKILL)
    assert mirror.differences(first, second, FOLDERS).keys() == {"releases/a.yaml"}
    assert comparers(tmp_path) != [one]


def test_of_a_commit_that_is_not_here_nothing_is_said(mirror: Mirror) -> None:
    tip = mirror.fetch()
    with pytest.raises(TransientError, match="is not in the mirror"):
        mirror.differences(tip, "1" * 40, FOLDERS)
