"""Whether what was done to one service, by whoever asked, can be told as one thing after the other.

The service is a register: a start writes a version into it, a roll-back writes the one before. Every write has its
instants in the journal, and every request those at which it was sent and answered: the history is linearizable when
the writes do not overlap, each begins from what the last one left, and each request that was granted has one write of
its own, which had not ended before it was sent, and one that was refused has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Write:
    """One change of what runs. `found`: what has to run before it; None for nothing."""

    operation: str
    found: str | None
    left: str | None
    back: bool
    began_at: datetime
    ended_at: datetime
    by_itself: bool = False
    """It went back because it failed, and nobody had to ask for it."""
    outlived: bool = False
    """Something newer was pinned before this was proven, and takes its place from what was good before."""


@dataclass(frozen=True)
class Request:
    """A request for a roll-back. `operation`: the one that it was answered with; empty where it was refused."""

    operation: str
    sent_at: datetime
    answered_at: datetime


def unsound(writes: Iterable[Write], requests: Iterable[Request], runs: str | None) -> list[str]:
    """What keeps it from being told so; `runs`: what runs at the end."""
    found: list[str] = []
    state: str | None = None
    last: Write | None = None
    asked = {one.operation: one for one in sorted(requests, key=lambda one: one.sent_at, reverse=True)}
    asked.pop("", None)
    backs: list[str] = []
    for write in sorted(writes, key=lambda one: one.began_at):
        if last and write.began_at < last.ended_at:
            found.append(f"{write.operation} began while {last.operation} was at work")
        replaces = last is not None and last.outlived and not write.back
        if write.found != state and not replaces:
            found.append(f"{write.operation} began from {write.found}, and {state} ran")
        state, last = write.left, write
        if write.back:
            backs.append(write.operation)
            request = asked.get(write.operation)
            if request is None and write.by_itself:
                continue
            if request is None:
                found.append(f"{write.operation} was taken back, and nobody was told so")
            elif write.began_at < request.sent_at:
                found.append(f"{write.operation} was taken back before anybody asked")
    found += [f"{operation} was taken back twice" for operation in {*backs} if backs.count(operation) > 1]
    found += [f"{operation} was granted, and not taken back" for operation in asked.keys() - {*backs}]
    if state != runs:
        found.append(f"{state} was left, and {runs} runs")
    return found
