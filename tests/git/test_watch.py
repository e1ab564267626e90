"""Watching a local remote: a push is noticed at once, and our own reading is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

import pytest

from reconciler.git import Mirror, Remote, Watcher
from reconciler.model.errors import HostError
from tests.git.colleague import ENVIRONMENT, Colleague, git

NOTICED_WITHIN_S = 10.0


@contextmanager
def watching(remote: Remote) -> Iterator[Queue[str]]:
    changes: Queue[str] = Queue()
    watcher = Watcher(remote, lambda: changes.put("changed"))
    watcher.start()
    try:
        yield changes
    finally:
        watcher.stop()


def drained(changes: Queue[str]) -> int:
    """How many changes there were, once the stream of them has fallen still."""
    count = 0
    while True:
        try:
            changes.get(timeout=0.1)
        except Empty:
            return count
        count += 1


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_push_to_a_bare_repository_is_noticed(origin: Path, ada: Colleague, form: str) -> None:
    with watching(Remote(form.format(origin))) as changes:
        ada.merges({"README.md": "2\n"})
        assert changes.get(timeout=NOTICED_WITHIN_S) == "changed"


def test_a_commit_in_a_work_tree_is_noticed(ada: Colleague) -> None:
    with watching(Remote(str(ada.folder))) as changes:
        ada.commit({"README.md": "2\n"})
        assert changes.get(timeout=NOTICED_WITHIN_S) == "changed"


def test_packing_the_references_is_noticed(origin: Path) -> None:
    with watching(Remote(str(origin))) as changes:
        git(origin, "pack-refs", "--all")
        assert changes.get(timeout=NOTICED_WITHIN_S) == "changed"


def test_a_branch_in_folders_is_noticed(origin: Path, ada: Colleague) -> None:
    ada.git("push", "--quiet", "origin", "HEAD:refs/heads/live/eu")
    with watching(Remote(str(origin), "live/eu")) as changes:
        ada.commit({"README.md": "2\n"})
        ada.git("push", "--quiet", "origin", "HEAD:refs/heads/live/eu")
        assert changes.get(timeout=NOTICED_WITHIN_S) == "changed"


def test_our_own_reading_and_other_branches_are_no_news(origin: Path, ada: Colleague, mirror: Mirror) -> None:
    with watching(Remote(str(origin))) as changes:
        mirror.fetch()
        mirror.poll()
        ada.git("push", "--quiet", "origin", "HEAD:refs/heads/other")
        assert drained(changes) == 0
        ada.merges({"README.md": "2\n"})
        assert changes.get(timeout=NOTICED_WITHIN_S) == "changed"


def test_nothing_is_called_once_stopped_and_stopping_twice_is_fine(origin: Path, ada: Colleague) -> None:
    changes: Queue[str] = Queue()
    watcher = Watcher(Remote(str(origin)), lambda: changes.put("changed"))
    watcher.stop()
    watcher.start()
    watcher.stop()
    watcher.stop()
    ada.merges({"README.md": "2\n"})
    assert drained(changes) == 0


@pytest.mark.fault("RT-15")
def test_what_cannot_be_watched_is_left_to_the_poll(tmp_path: Path) -> None:
    for remote, reason in (
        (Remote("https://git.example/fleet.git"), "is not on this machine"),
        (Remote(str(tmp_path)), "is not a repository that can be watched"),
    ):
        with pytest.raises(HostError, match=f"{reason}.*; nothing to do: the repository is polled"):
            Watcher(remote, lambda: None).start()


EXHAUSTED = """
import resource, sys
import watchdog.observers
from reconciler.git import Remote, Watcher
from reconciler.model.errors import HostError

resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
watcher = Watcher(Remote(sys.argv[1]), lambda: None)
try:
    watcher.start()
except HostError as error:
    print(error)
watcher.stop()
"""


@pytest.mark.fault("RT-15")
def test_a_machine_out_of_watches_is_left_to_the_poll(origin: Path) -> None:
    """In a process of its own, which has no file descriptor left for inotify."""
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXHAUSTED, str(origin)],
        cwd=Path(__file__).parents[2],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.startswith(f"{origin} cannot be watched: ")
    assert child.stdout.endswith("; nothing to do: the repository is polled\n")
    assert child.stderr == ""
