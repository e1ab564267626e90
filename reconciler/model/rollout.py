"""In what steps the instances of a service are replaced: one batch after the other, each proven before the next."""

from __future__ import annotations

import math

from reconciler.model.engines import Engine
from reconciler.model.release import Share
from reconciler.model.target import Workload


def batches(work: Workload, engine: Engine) -> tuple[int, ...]:
    """How many instances run the new version after each batch: rising, and all of them after the last.

    An engine that replaces them one by one by itself is asked once.
    """
    total, rollout = work.instances, work.rollout
    if work.strategy in engine.native:
        return (total,)
    match work.strategy:
        case "rolling":
            size = count_of(rollout.batch, total)
            counts = [*range(size, total, size)]
        case "canary":
            counts = [count_of(share, total) for share in rollout.canary]
        case _:
            counts = []
    return (*sorted({count for count in counts if count < total}), total)


def count_of(share: Share, total: int) -> int:
    """A number of instances, or a share of all of them such as `25%`, rounded up: at least one."""
    count = share if isinstance(share, int) else math.ceil(total * int(share.removesuffix("%")) / 100)
    return max(1, min(count, total))


def interrupts(work: Workload) -> bool:
    """Whether nothing answers for a moment while the old version gives way."""
    return work.strategy == "stop-start" or (work.strategy in {"rolling", "canary"} and work.instances == 1)
