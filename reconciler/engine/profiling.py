"""Where the daemon spends its time, when somebody asks: a profile of half a minute, begun by a signal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import marshal
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.clock import Clock

if TYPE_CHECKING:
    from cProfile import Profile

log = logging.getLogger("ugs")
PROFILE_S = 30.0
TABLE_NAME, RAW_NAME = "profile.txt", "profile.pstats"
ROWS_MAX = 50
RAW_BYTES_MAX = 16 << 20
PACKAGE = Path(__file__).parent.parent
WAITING = "'poll' of 'select."

Function = tuple[str, int, str]
"""File, line, name; of what is written in C, `~`, 0 and a description."""
Spent = tuple[int, int, float, float, Mapping[Function, object]]
"""As `pstats` has it: calls that are not within one of their own, all calls, own seconds, seconds with all that it
called, and its callers."""


class Profiler:
    """Costs nothing until asked. Sees the thread alone that it is asked in, which is the event loop's: not the threads
    that observe, fetch and read, of which it shows how long they took to be answered for only where the loop waits."""

    def __init__(self, clock: Clock, state: Path) -> None:
        self._clock = clock
        self._state = state
        self._enough = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def toggle(self) -> None:
        """Begin a profile, or end the one under way before its time. To be called in the event loop's thread."""
        if self._task and not self._task.done():
            self._enough.set()
            return
        self._enough.clear()
        self._task = asyncio.get_running_loop().create_task(self._once(), name="profile")

    async def end(self) -> None:
        """Give up the one under way; nothing is written of it."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _once(self) -> None:
        """Never raises for a profile: what is in its way is logged."""
        from cProfile import Profile  # not before it is asked for

        profile = Profile()
        try:
            profile.enable()
        except ValueError as error:  # since Python 3.12, while another profiler is at work
            log.warning("no profile: %s", error)
            return
        log.info("profiling for %d s; SIGUSR2 ends it before", PROFILE_S)
        began = self._clock.monotonic()
        try:
            await self._clock.wait(self._enough, PROFILE_S)
        finally:
            profile.disable()
        try:
            await asyncio.to_thread(self._write, profile, self._clock.monotonic() - began)
        except OSError as error:
            log.warning("no profile: %s", error)
            return
        log.info("profiled; where the time went is in %s", self._state / TABLE_NAME)

    def _write(self, profile: Profile, passed_s: float) -> None:
        profile.create_stats()
        raw = marshal.dumps(profile.stats)  # what `pstats` reads
        if len(raw) > RAW_BYTES_MAX:
            log.warning("%s would have %d bytes, and is left as it was", RAW_NAME, len(raw))
        else:
            _replace(self._state / RAW_NAME, raw)
        _replace(self._state / TABLE_NAME, table(profile.stats, passed_s).encode("utf-8", "backslashreplace"))


def table(spent: Mapping[Function, Spent], passed_s: float) -> str:
    """For people: the functions with most time of their own, then those of this package with most time in all."""
    waited_s = sum(own_s for function, (_, _, own_s, _, _) in spent.items() if WAITING in function[2])
    work = [one for one in spent.items() if WAITING not in one[0][2]]
    ours = [one for one in work if Path(one[0][0]).is_relative_to(PACKAGE)]
    busy_s = sum(own_s for _, (_, _, own_s, _, _) in work)
    return "\n".join(
        [
            f"{passed_s:.1f} s of the event loop's thread: {busy_s:.3f} s at work, {waited_s:.3f} s waiting.",
            "Other threads are not in here. Times passed on the wall; a coroutine is called each time it goes on.",
            "",
            f"By own time, the first {ROWS_MAX}:",
            *_rows(sorted(work, key=lambda one: one[1][2], reverse=True), busy_s),
            "",
            f"By time with all that was called, the first {ROWS_MAX} of UGS:",
            *_rows(sorted(ours, key=lambda one: one[1][3], reverse=True), busy_s),
            "",
        ]
    )


def _rows(work: Iterable[tuple[Function, Spent]], busy_s: float) -> list[str]:
    lines = [f"{'own s':>9} {'own %':>6} {'in all s':>9} {'calls':>9}  function"]
    for (file, line, name), (_, calls, own_s, all_s, _) in list(work)[:ROWS_MAX]:
        share = 100 * own_s / busy_s if busy_s else 0.0
        where = name if file == "~" else f"{_short(file)}:{line} {name}"
        lines.append(f"{own_s:9.3f} {share:6.1f} {all_s:9.3f} {calls:9d}  {where}")
    return lines


def _short(file: str) -> str:
    """Without the folder that it was imported from."""
    path = Path(file)
    found = [folder for folder in sys.path if folder and path.is_relative_to(folder)]
    return str(path.relative_to(max(found, key=len))) if found else file


def _replace(path: Path, content: bytes) -> None:
    """All of it or nothing, for the daemon's user alone. Raises OSError."""
    draft = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(
            draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
