"""The messenger in memory: what people were told."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.model.notice import Notice
from reconciler.notify.sender import Thread, Undelivered
from tests.simulation.faults import Weather


class Messenger:
    """reconciler.notify.Sender; `told` is every notice that arrived, a repeated one too."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self.told: list[Notice] = []

    async def show(self, notices: Sequence[Notice], thread: Thread | None) -> Thread:
        self._reach()
        return thread or Thread("C1", notices[0].operation or "")

    async def tell(self, notice: Notice, thread: Thread | None) -> None:
        self._reach()
        self.told.append(notice)

    async def sum_up(self, notices: Sequence[Notice]) -> None:
        self._reach()
        self.told += notices

    def _reach(self) -> None:
        if self._weather.strikes("slack-down"):
            raise Undelivered("the messenger does not answer")
