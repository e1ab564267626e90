"""What was read of a repository, remembered on disk: never another answer than reading gives, whatever became of it."""

from __future__ import annotations

import logging
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import parsed
from reconciler.config.caches import cache_folder
from reconciler.model.codec import packed
from reconciler.model.section import Cache
from reconciler.model.snapshot import Snapshot, read
from reconciler.parsed import Parsed, Row, fingerprint
from tests.model.test_reread import BLOBS, listed, nothing_older, trees, whole
from tests.model.test_snapshot import environment, release

TREE = {
    "releases/api/1.4.0.yaml": release("api", "1.4.0"),
    "releases/api/1.5.0.yaml": release("api", "1.5.0"),
    "releases/web/2.0.0.yaml": release("web", "2.0.0"),
    "environments/live.yaml": environment("live", "{api: {version: '1.5.0'}, web: '2.0.0'}")
    + "timezone: Europe/Berlin\n",
}
SECTIONS = {"releases/api", "releases/web", "environments/live"}


def started(path: Path, tree: dict[str, str]) -> tuple[Snapshot, int]:
    """What a process that starts now makes of the tree, and how many files it had to read for that."""
    memory = Parsed(path)
    cache = Cache(memory.recall)
    blobs = {file.oid: tree[name].encode() for name, file in listed(tree).items()}
    snapshot = read("r", listed(tree).values(), (BLOBS | blobs).__getitem__, cache, nothing_older)
    memory.keep(snapshot.sections, cache)
    memory.forget()
    return snapshot, cache.parsed


def rows(path: Path) -> dict[str, bytes]:
    with closing(sqlite3.connect(path)) as database:
        return dict(database.execute("SELECT name, body FROM sections"))


def changed(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement, values)


def of(tree: dict[str, str]) -> Snapshot:
    blobs = {file.oid: tree[name].encode() for name, file in listed(tree).items()}
    return read("r", listed(tree).values(), blobs.__getitem__, Cache(), nothing_older)


@settings(max_examples=100, deadline=None)
@given(st.lists(trees, min_size=2, max_size=4))
def test_what_is_remembered_is_what_reading_gives(history: list[dict[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        for tree in history:
            snapshot, _ = started(Path(folder) / "parsed.db", tree)
            assert snapshot == whole(tree)
            for one, other in (
                (snapshot.releases, whole(tree).releases),
                (snapshot.nodes, whole(tree).nodes),
            ):
                assert repr(dict(one)) == repr(dict(other))  # 1, 1.0 and true are equal, and not the same


def test_who_starts_again_reads_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "parsed.db"
    assert started(path, TREE)[1] == len(TREE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = rows(path)
    assert set(before) == SECTIONS
    assert started(path, TREE) == (of(TREE), 0)
    later = TREE | {"releases/api/1.5.0.yaml": release("api", "1.5.0") + "# changed\n"}
    assert started(path, later) == (of(later), 1)
    assert {name for name, body in rows(path).items() if body != before[name]} == {"releases/api"}
    assert started(path, later) == (of(later), 0)


def test_what_is_read_ahead_is_read_once_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reads, own = tmp_path / "parsed.db", list[str](), Parsed._read
    whole, _ = started(path, TREE)

    def counted(self: Parsed) -> list[tuple[str, bytes, bytes]]:
        reads.append(threading.current_thread().name)
        return own(self)

    monkeypatch.setattr(Parsed, "_read", counted)
    memory = Parsed(path)
    memory.begin()
    while "parsed" in {thread.name for thread in threading.enumerate()}:
        time.sleep(0)
    cache = Cache(memory.recall)
    blobs = {file.oid: TREE[name].encode() for name, file in listed(TREE).items()}
    assert read("r", listed(TREE).values(), blobs.__getitem__, cache, nothing_older) == whole
    assert (cache.parsed, reads) == (0, ["parsed"])


def test_what_stands_no_longer_is_dropped_and_what_is_wrong_is_never_kept(tmp_path: Path) -> None:
    path = tmp_path / "parsed.db"
    started(path, TREE)
    less = {name: text for name, text in TREE.items() if "web" not in name}
    started(path, less)
    assert set(rows(path)) == SECTIONS - {"releases/web"}
    spoilt = less | dict.fromkeys((name for name in less if "api" in name), "cut off")
    for _ in range(2):
        assert started(path, spoilt) == (of(spoilt), 2)
        assert set(rows(path)) == {"environments/live"}


def test_the_same_bytes_at_another_path_are_another_file(tmp_path: Path) -> None:
    path = tmp_path / "parsed.db"
    started(path, TREE)
    moved = {name.replace("live", "test"): text for name, text in TREE.items()}
    snapshot, files = started(path, moved)
    assert files == 1
    assert snapshot == of(moved)
    assert snapshot.problems


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def foreign(path: Path) -> None:
    path.write_bytes(b"something else\n" * 1000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def one_bit(path: Path) -> None:
    body = bytearray(rows(path)["releases/api"])
    body[body.index(b"url") + 5] ^= 1  # still text, and still a release
    changed(path, "UPDATE sections SET body = ? WHERE name = 'releases/api'", bytes(body))


def swapped(path: Path) -> None:
    changed(path, "UPDATE sections SET name = 'releases/x' WHERE name = 'releases/web'")
    changed(path, "UPDATE sections SET name = 'releases/web' WHERE name = 'releases/api'")


def no_text(path: Path) -> None:
    changed(path, "UPDATE sections SET body = 'text', checksum = 7")


def no_name(path: Path) -> None:
    changed(path, "UPDATE sections SET name = x'ff00' WHERE name = 'releases/web'")


def no_row(path: Path) -> None:
    body = packed([1, 2, 3])
    changed(path, "UPDATE sections SET body = ?, checksum = ?", body, parsed._checksum("releases/api", body))


def unknown_zone(path: Path) -> None:
    body = rows(path)["environments/live"].replace(b"Europe/Berlin", b"Europe/Nowher")
    checksum = parsed._checksum("environments/live", body)
    changed(
        path, "UPDATE sections SET body = ?, checksum = ? WHERE name = 'environments/live'", body, checksum
    )


def other_version(path: Path) -> None:
    changed(path, "UPDATE maker SET fingerprint = 'other'")


def nobodys(path: Path) -> None:
    changed(path, "DELETE FROM maker")


@pytest.mark.parametrize(
    "spoil",
    [
        truncated,
        foreign,
        empty,
        a_folder,
        a_link,
        one_bit,
        swapped,
        no_text,
        no_name,
        no_row,
        unknown_zone,
        other_version,
        nobodys,
    ],
)
def test_a_spoilt_memory_is_as_none_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "parsed.db"
    started(path, TREE)
    spoil(path)
    with caplog.at_level(logging.INFO):
        snapshot, files = started(path, TREE)
    assert snapshot == of(TREE)
    assert files > 0
    assert len(caplog.records) <= 1
    if spoil is not a_folder:
        assert started(path, TREE) == (of(TREE), 0)


def test_where_it_cannot_be_written_it_is_said_once_and_everything_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    assert started(tmp_path / "file" / "parsed.db", TREE) == (of(TREE), len(TREE))
    monkeypatch.setattr(parsed, "SIZE_BYTES_MAX", 4096)
    memory = Parsed(tmp_path / "full.db")
    for _ in range(3):
        cache = Cache(memory.recall)
        snapshot = read("r", listed(TREE).values(), lambda oid: BLOBS.get(oid, b""), cache, nothing_older)
        memory.keep(snapshot.sections, cache)
    assert len(caplog.records) == 2


def test_a_write_that_was_cut_short_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "parsed.db"
    started(path, TREE)
    before = rows(path)

    def killed(_row: Row) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(parsed, "packed", killed)
    with pytest.raises(KeyboardInterrupt):
        started(path, TREE | {"releases/api/1.5.0.yaml": release("api", "1.5.0") + "# changed\n"})
    assert rows(path) == before


def test_it_counts_only_for_the_code_that_made_it() -> None:
    assert len(fingerprint()) == 64
    assert fingerprint() == fingerprint.__wrapped__()


def test_a_person_keeps_such_things_in_one_folder() -> None:
    assert cache_folder({"HOME": "/home/ada"}) == Path("/home/ada/.cache/ugs")
    assert cache_folder({"HOME": "/home/ada", "XDG_CACHE_HOME": "/var/tmp"}) == Path("/var/tmp/ugs")
    assert cache_folder({"HOME": "relative", "XDG_CACHE_HOME": "also"}) is None


def test_what_came_while_it_was_written_is_written_next(tmp_path: Path) -> None:
    path = tmp_path / "parsed.db"
    memory = Parsed(path)
    cache = Cache(memory.recall)
    later = TREE | {"releases/api/1.5.0.yaml": release("api", "1.5.0") + "# changed\n"}
    blobs = {file.oid: later[name].encode() for name, file in listed(later).items()} | BLOBS
    blobs |= {file.oid: TREE[name].encode() for name, file in listed(TREE).items()}
    snapshots = [
        read("r", listed(tree).values(), blobs.__getitem__, cache, nothing_older) for tree in (TREE, later)
    ]
    for snapshot in snapshots:
        memory.keep(snapshot.sections, cache)
    assert started(path, later) == (of(later), 0)
