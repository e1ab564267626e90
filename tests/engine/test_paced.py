"""Long work lets others have the loop, and what it writes in one piece is all there or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from reconciler.engine.paced import HOLD_S, PAUSE_S, Piece, written
from reconciler.store import Store
from tests.build import NOW
from tests.moved_clock import MovedClock


class Passing(MovedClock):
    """Every look at it takes a fifth of a piece."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_s = 0.0
        self.slept_s: list[float] = []

    def monotonic(self) -> float:
        self.passed_s += HOLD_S / 5
        return self.passed_s

    async def sleep(self, duration_s: float) -> None:
        self.slept_s.append(duration_s)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "ugs.db", now=lambda: NOW)) as store:
        yield store


async def test_a_piece_ends_after_its_time_and_another_begins() -> None:
    clock = Passing()
    piece = Piece(clock)
    assert [await piece.rest() for _ in range(6)] == [False, False, False, False, True, False]
    assert clock.slept_s == [PAUSE_S]


async def test_many_writes_share_few_transactions(store: Store) -> None:
    committed: list[int] = []
    store.hearers.append(lambda: committed.append(len(store.marks("m "))))
    await written(store, Passing(), [partial(store.mark, f"m {number:02}", "x") for number in range(12)])
    assert len(store.marks("m ")) == 12
    assert 1 < len(committed) < 6
    assert committed[-1] == 12


async def test_a_write_that_fails_takes_its_own_piece_along_and_no_former_one(store: Store) -> None:
    heard: list[str] = []

    def write(name: str) -> None:
        store.mark(f"m {name}", "x")
        store.afterwards(lambda: heard.append(name))

    def fail() -> None:
        raise RuntimeError("a bug")

    names = [f"{number:02}" for number in range(7)]
    with pytest.raises(RuntimeError):
        await written(store, Passing(), [*(partial(write, name) for name in names), fail])
    kept = [key.removeprefix("m ") for key in sorted(store.marks("m "))]
    assert 0 < len(kept) < 7
    assert heard == kept


def test_what_is_done_afterwards_waits_for_the_commit_and_dies_with_it(store: Store) -> None:
    heard: list[str] = []
    store.afterwards(lambda: heard.append("at once"))
    with store.transaction():
        store.afterwards(lambda: heard.append("outer"))
        with suppress(RuntimeError), store.transaction():
            store.afterwards(lambda: heard.append("taken back"))
            raise RuntimeError
        with store.transaction():
            store.afterwards(lambda: heard.append("inner"))
        assert heard == ["at once"]
    assert heard == ["at once", "outer", "inner"]
