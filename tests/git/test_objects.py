"""The one long-lived object reader: shared by threads, and no single point of failure."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.git import Mirror
from reconciler.model.errors import HostError, TransientError
from tests.git.children import children
from tests.git.colleague import Colleague, git
from tests.git.conftest import OpenMirror


def readers(tmp_path: Path) -> list[int]:
    return children(tmp_path / "state" / "mirror.git", "--batch\0")


def test_all_blobs_come_from_one_process_and_many_threads(
    mirror: Mirror, ada: Colleague, tmp_path: Path
) -> None:
    texts = {f"releases/{number}.yaml": f"{number}\n" * (number * 50 + 1) for number in range(60)}
    texts["releases/empty.yaml"] = ""
    sha = ada.merges(dict(texts))
    mirror.fetch()
    entries = mirror.entries(sha, ["releases"]) * 5
    with ThreadPoolExecutor(8) as threads:
        blobs = list(threads.map(lambda entry: mirror.blob(entry.oid), entries))
    assert blobs == [texts[entry.path].encode() for entry in entries]
    assert len(readers(tmp_path)) == 1
    mirror.close()
    assert readers(tmp_path) == []


def test_a_reader_that_died_is_started_again(mirror: Mirror, tmp_path: Path) -> None:
    tip = mirror.fetch()
    assert mirror.blob_at(tip, "README.md") == b"fleet\n"
    (first,) = readers(tmp_path)
    os.kill(first, signal.SIGKILL)
    assert mirror.blob_at(tip, "README.md") == b"fleet\n"
    assert readers(tmp_path) != [first]


def test_what_was_fetched_is_known_whoever_packs_the_references_and_whatever_dies(
    mirror: Mirror, ada: Colleague, tmp_path: Path
) -> None:
    folder = tmp_path / "state" / "mirror.git"
    assert mirror.fetch() == ada.git("rev-parse", "HEAD")
    for number, between in enumerate(("pack-refs --all", "gc --quiet --prune=now", "")):
        if between:
            git(folder, *between.split())
        else:
            (one,) = children(folder, "--batch-check")
            os.kill(one, signal.SIGKILL)
        assert mirror.fetch() == ada.git("rev-parse", "HEAD")
        tip = ada.merges({"README.md": f"{number}\n"})
        assert mirror.fetch() == tip


def test_an_object_that_is_not_here_may_come_and_is_then_read(mirror: Mirror, ada: Colleague) -> None:
    mirror.fetch()
    ada.merges({"new.yaml": "new\n"})
    oid = ada.git("rev-parse", "HEAD:new.yaml")
    with pytest.raises(
        TransientError, match=f"object {oid} is not in the mirror; fetch again, or start again"
    ):
        mirror.blob(oid)
    mirror.fetch()
    assert mirror.blob(oid) == b"new\n"


@pytest.mark.fault("GT-15")
def test_a_damaged_object_says_so_and_the_next_start_heals_it(
    mirror: Mirror, open_mirror: OpenMirror, tmp_path: Path
) -> None:
    tip = mirror.fetch()
    (entry,) = mirror.entries(tip, ["README.md"])
    folder = tmp_path / "state" / "mirror.git" / "objects" / "pack"
    (pack,), (index,) = folder.glob("*.pack"), folder.glob("*.idx")
    offsets = dict(
        line.split()[1::-1] for line in git(folder, "show-index", stdin=index.read_bytes()).splitlines()
    )
    content = int(offsets[entry.oid]) + 3  # Behind the object's header and that of its compression.
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:content] + bytes(6) + pack.read_bytes()[content + 6 :])
    with pytest.raises(HostError, match=f"object {entry.oid} cannot be read from the mirror; start again"):
        mirror.blob(entry.oid)
    mirror.close()
    again = open_mirror()
    assert again.fetch() == tip
    assert again.blob(entry.oid) == b"fleet\n"
