"""Many blobs at once: the same bytes as one by one, by far fewer answers that are waited for."""

from __future__ import annotations

from threading import Event

import pytest

from reconciler.git import Entry, Mirror, ahead
from reconciler.model.errors import HostError, TransientError
from tests.git.colleague import Colleague

WAIT_S = 10.0


def entries(mirror: Mirror, ada: Colleague, count: int) -> list[Entry]:
    texts = {f"releases/{number}.yaml": f"{number}\n" * (number % 9) for number in range(count)}
    sha = ada.merges(dict(texts))
    mirror.fetch()
    return mirror.entries(sha, ["releases"])


def test_many_blobs_are_read_at_once_in_any_order(
    mirror: Mirror, ada: Colleague, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "AT_ONCE_MAX", 7)
    wanted = entries(mirror, ada, 60)
    told = list[tuple[int, int]]()
    load = mirror.blobs(wanted, lambda done, total: told.append((done, total)))
    here = reversed(wanted[:30])
    assert all(load(entry.oid) == mirror.blob(entry.oid) for entry in [*here, *wanted])
    distinct = len({entry.oid for entry in wanted})
    assert told[-1] == (distinct, distinct)
    assert [done for done, _ in told] == [*range(7, distinct, 7), distinct]


def test_git_reads_the_next_portion_while_one_is_looked_at(
    mirror: Mirror, ada: Colleague, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "AT_ONCE_MAX", 7)
    wanted = entries(mirror, ada, 60)
    git, asked, second = mirror._git, list[bytes](), Event()
    local = git.local

    def listening(*argv: str, stdin: bytes = b"") -> bytes:
        asked.append(stdin)
        if len(asked) == 2:
            second.set()
        return local(*argv, stdin=stdin)

    monkeypatch.setattr(git, "local", listening)
    load = mirror.blobs(wanted)
    load(wanted[0].oid)
    assert second.wait(WAIT_S)
    assert len(asked) == 2


def test_no_more_bytes_are_held_than_may_be(
    mirror: Mirror, ada: Colleague, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "AT_ONCE_BYTES_MAX", 20)
    wanted = entries(mirror, ada, 60)
    told = list[tuple[int, int]]()
    load = mirror.blobs(wanted, lambda done, total: told.append((done, total)))
    assert all(load(entry.oid) == mirror.blob(entry.oid) for entry in wanted)
    assert len(told) > 10


def test_a_few_are_asked_for_one_by_one(mirror: Mirror, ada: Colleague) -> None:
    wanted = entries(mirror, ada, 9)
    told = list[tuple[int, int]]()
    load = mirror.blobs(wanted, lambda done, total: told.append((done, total)))
    assert all(load(entry.oid) == mirror.blob(entry.oid) for entry in wanted)
    assert told == []


def test_what_is_not_here_is_missing_alone_and_what_is_no_blob_is_refused(
    mirror: Mirror, ada: Colleague
) -> None:
    wanted = entries(mirror, ada, 200)
    absent = Entry("100644", "1" * 40, "releases/absent.yaml", 5)
    many = [absent, *({entry.oid: entry for entry in wanted}.values())] * 4
    numbered = [Entry("100644", f"{number:040x}", "x", 1) for number in range(1, 30)]
    load = mirror.blobs([*many, *numbered])
    with pytest.raises(TransientError, match="is not in the mirror"):
        load(absent.oid)
    assert load(wanted[3].oid) == mirror.blob(wanted[3].oid)
    tree = ada.git("rev-parse", "HEAD^{tree}")
    load = mirror.blobs([Entry("100644", tree, "x", 1), *numbered])
    with pytest.raises(HostError, match="cannot be read"):
        load(tree)
