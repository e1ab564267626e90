"""Trouble that is nobody's bug is outlived; what cannot be trusted any more, and bugs, are not."""

from __future__ import annotations

import pytest

from reconciler.engine.endure import TROUBLE_S, endure
from reconciler.model.errors import HostError, TransientError
from reconciler.store import Damaged
from tests.moved_clock import MovedClock


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


@pytest.mark.parametrize(
    "error", [Damaged("the file is corrupt"), RuntimeError("a bug"), KeyError("another")]
)
async def test_what_cannot_be_trusted_and_bugs_end_it(error: Exception) -> None:
    with pytest.raises(type(error)):
        await endure(Ticking(), "notes", Loop(error).work)


class Ticking(MovedClock):
    """Every pause is over at once, and remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.slept_s: list[float] = []

    async def sleep(self, duration_s: float) -> None:
        self.slept_s.append(duration_s)
