"""The signals that the daemon heeds, also while its loop has more to do than it hears."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from types import FrameType


def heed_signals(calls: Mapping[signal.Signals, Callable[[], None]]) -> None:
    """From now on a signal is followed by its call, in the running loop."""
    loop = asyncio.get_running_loop()
    for number, heed in calls.items():
        before = signal.getsignal(number)
        loop.add_signal_handler(number, _nothing)
        if signal.getsignal(number) is not before:  # in the simulation nobody sends any
            signal.signal(number, _heard(loop, heed))
            signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)


def _heard(
    loop: asyncio.AbstractEventLoop, heed: Callable[[], None]
) -> Callable[[int, FrameType | None], None]:
    """Heed a signal even when the loop does not: it hears of one by a byte in a pipe that also wakes it whenever a
    thread has done its work, and after some three hundred of these while it was busy there is no room for one more."""

    def heard(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(heed)

    return heard


def _nothing() -> None:
    """Left to `_heard`."""
