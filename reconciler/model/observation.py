"""What a driver reports, and what the probes said: facts, each with what it was drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from reconciler.model.target import Target

Sync = Literal["in-sync", "out-of-sync", "drifted", "missing", "foreign", "unpinned"]
HealthState = Literal["healthy", "progressing", "degraded", "unknown"]
Verdict = Literal["healthy", "failed", "unknown"]


class Instance(Struct, frozen=True, gc=False):
    """One instance of a service. `state`: `starting` while the engine is still at it, which proves nothing; `crashed`
    while what keeps it waits to start it again. `drift`: what someone changed of it behind our back."""

    index: int
    target: Target
    state: Literal["running", "starting", "crashed"]
    pid: int | None = None
    started_at: datetime | None = None
    detail: str = ""
    drift: str = ""
    handle: str = ""
    """By which the engine is asked what this instance uses; empty where it is not known."""


class Usage(Struct, frozen=True):
    """What one instance uses, with all that it started. `cpu_s`: seconds of processor time since it started, of what
    has ended too. `threads` and `open_files`: None where they cannot be counted."""

    cpu_s: float
    resident_bytes: int
    threads: int | None = None
    open_files: int | None = None


class Observation(Struct, frozen=True, gc=False):
    """What runs of one service now, as the engine says: never our memory."""

    service: str
    instances: tuple[Instance, ...] = ()
    foreign: str = ""
    """What of the service's name is not ours, and is left alone; empty where there is nothing."""

    @property
    def targets(self) -> frozenset[Target]:
        return frozenset(instance.target for instance in self.instances)

    @property
    def running(self) -> Target | None:
        """The one target that runs, or None when nothing or a mixture does."""
        first = self.instances[0].target if self.instances else None
        return first if all(one.target == first for one in self.instances[1:]) else None


class Sample(Struct, frozen=True):
    """One result of one probe. `unknown`: the check could not be made, which proves nothing."""

    probe: str
    verdict: Verdict
    at: datetime
    detail: str = ""
    latency_s: float | None = None


def seen_running(targets: Mapping[str, Target]) -> dict[str, Observation]:
    """What would be seen where one instance of each runs; by service."""
    return {
        service: Observation(service, (Instance(0, target, "running"),))
        for service, target in targets.items()
    }
