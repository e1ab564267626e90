"""What a driver reports, and what the probes said: facts, each with what it was drawn from."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from reconciler.model.target import Target

Sync = Literal["in-sync", "out-of-sync", "drifted", "missing", "foreign", "unpinned"]
HealthState = Literal["healthy", "progressing", "degraded", "unknown"]
Verdict = Literal["healthy", "failed", "unknown"]


class Instance(Struct, frozen=True):
    """One instance of a service. `state` is `running`, or `crashed` while its keeper waits to start it again."""

    index: int
    target: Target
    state: Literal["running", "crashed"]
    pid: int | None = None
    started_at: datetime | None = None
    detail: str = ""


class Observation(Struct, frozen=True):
    """What runs of one service now, as the engine says: never our memory."""

    service: str
    instances: tuple[Instance, ...] = ()

    @property
    def targets(self) -> frozenset[Target]:
        return frozenset(instance.target for instance in self.instances)

    @property
    def running(self) -> Target | None:
        """The one target that runs, or None when nothing or a mixture does."""
        first = self.instances[0].target if self.instances else None
        return first if all(instance.target == first for instance in self.instances) else None


class Sample(Struct, frozen=True):
    """One result of one probe. `unknown`: the check could not be made, which proves nothing."""

    probe: str
    verdict: Verdict
    at: datetime
    detail: str = ""
    latency_s: float | None = None
