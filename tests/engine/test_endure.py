"""Trouble that is nobody's bug is outlived; what cannot be trusted any more, and bugs, are not."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.engine.endure import TROUBLE_S, endure, until_damaged
from reconciler.model.errors import HostError, TransientError
from reconciler.store import Damaged, Store
from tests.build import NOW
from tests.moved_clock import MovedClock
from tests.store.broken import damage


class Loop:
    """Raises these one after another, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.begun = 0

    async def work(self) -> str:
        self.begun += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_a_full_disk_and_a_locked_database_are_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    loop, clock = Loop(HostError("the disk is full", "free some space"), TransientError("locked")), Ticking()
    assert await endure(clock, "notes", loop.work) == "done"
    assert loop.begun == 3
    assert clock.slept_s == [TROUBLE_S, TROUBLE_S]
    assert [record.getMessage() for record in caplog.records] == [
        "notes: the disk is full; free some space",
        "notes: locked",
    ]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("another")])
async def test_bugs_end_it(error: Exception) -> None:
    with pytest.raises(type(error)):
        await endure(Ticking(), "notes", Loop(error).work)


async def test_a_database_that_is_damaged_is_heard_of_by_those_who_did_not_meet_it(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "ugs.db", now=lambda: NOW)) as store:
        waiting = asyncio.create_task(until_damaged(store))
        await asyncio.sleep(0)
        damage(store)
        with pytest.raises(Damaged, match="disk I/O error"):
            await waiting
        with pytest.raises(Damaged, match="disk I/O error"):
            await until_damaged(store)


class Ticking(MovedClock):
    """Every pause is over at once, and remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.slept_s: list[float] = []

    async def sleep(self, duration_s: float) -> None:
        self.slept_s.append(duration_s)
