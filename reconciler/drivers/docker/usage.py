"""What containers use: as this machine's kernel says, or, where the engine's processes cannot be seen, as it counts."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from msgspec import Struct

from reconciler.clock import SystemClock
from reconciler.drivers.docker.client import engine
from reconciler.drivers.machine.usage import of_groups
from reconciler.model.codec import resolve_types
from reconciler.model.observation import Usage

AT_ONCE_MAX = 8
"""Older engines take a second for each answer."""
LASTS_MAX_S = 5.0
TIMEOUT_S = 5
NS_PER_S = 1e9


class _Cpu(Struct, frozen=True):
    total_usage: int = 0


class _Cpus(Struct, frozen=True):
    cpu_usage: _Cpu = _Cpu()


class _Memory(Struct, frozen=True):
    usage: int | None = None
    stats: dict[str, int] | None = None


class _Pids(Struct, frozen=True):
    current: int | None = None


class Stats(Struct, frozen=True):
    """One answer of `GET /containers/ID/stats`, as far as it matters here."""

    cpu_stats: _Cpus = _Cpus()
    memory_stats: _Memory = _Memory()
    pids_stats: _Pids = _Pids()


resolve_types(Stats)


def used(url: str, containers: Collection[str]) -> dict[str, Usage]:
    """By container. One look at this machine shows all of them, unless the daemon runs in a container itself, or the
    engine in a virtual machine: then the engine is asked for each."""
    return of_groups(containers) or (counted(url, containers) if containers else {})


def counted(url: str, containers: Collection[str]) -> dict[str, Usage]:
    """As the engine says, of as many as it answers for within five seconds. Raises HostError."""
    clock = SystemClock()
    end_s, several = clock.monotonic() + LASTS_MAX_S, sorted(containers)

    def some(first: int) -> dict[str, Usage]:
        found: dict[str, Usage] = {}
        with engine(url, "measure the containers", timeout_s=TIMEOUT_S) as client:
            for one in islice(several, first, None, AT_ONCE_MAX):
                if clock.monotonic() > end_s:
                    break
                if (stats := client.measured(one)) and (usage := usage_of(stats)):
                    found[one] = usage
        return found

    with ThreadPoolExecutor(AT_ONCE_MAX) as pool:
        answers = pool.map(some, range(min(AT_ONCE_MAX, len(several))))
        return {one: usage for answer in answers for one, usage in answer.items()}


def usage_of(stats: Stats) -> Usage | None:
    """None of what does not run, or where the engine does not account for memory. Files that the kernel would let go
    of are not counted, as `docker stats` does it."""
    memory = stats.memory_stats
    if memory.usage is None:
        return None
    details = memory.stats or {}
    cached = details.get("total_inactive_file", details.get("inactive_file", 0))
    cpu_s = stats.cpu_stats.cpu_usage.total_usage / NS_PER_S
    return Usage(cpu_s, max(0, memory.usage - cached), stats.pids_stats.current)
