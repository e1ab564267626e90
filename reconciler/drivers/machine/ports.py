"""Who listens at a port that should be a service's own."""

from __future__ import annotations

import time
from collections.abc import Callable

from reconciler.drivers.machine import procfs

LOOKS = 10
LOOK_PAUSE_S = 0.05


def stranger(
    port: int, own: Callable[[], set[int]], counts: Callable[[procfs.Listener], bool] = lambda _: True
) -> str:
    """Who listens at the port and is none of `own`, for a sentence; empty when nobody does.

    Processes fork, exec and end between two looks at /proc, so only what stays is believed.
    """
    found = _stranger_now(port, own, counts)
    for _ in range(LOOKS - 1):
        if not found:
            break
        time.sleep(LOOK_PAUSE_S)
        found = _stranger_now(port, own, counts)
    return found


def _stranger_now(port: int, own: Callable[[], set[int]], counts: Callable[[procfs.Listener], bool]) -> str:
    for listener in filter(counts, procfs.listeners(port)):
        holders = procfs.owners(listener)
        if own().isdisjoint(holders):
            return procfs.describe(holders)
    return ""
