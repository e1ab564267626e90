"""How long an upgrade is expected to take: from what past ones took, else from what its manifest allows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reconciler.model.engines import ENGINES, Kind
from reconciler.model.release import Release
from reconciler.model.rollout import batches
from reconciler.model.target import Workload

PAST_MIN = 5
QUANTILE = 0.95


def expected_s(past_s: Sequence[float], release: Release) -> float:
    """Seconds. The 95th percentile (nearest rank) of five or more past upgrades, else what its manifest allows:
    deadline, soak, and the time limits of saving and verifying its data and of its migrations."""
    if len(past_s) < PAST_MIN:
        data_s = 2 * release.backup.timeout_s if release.backup else 0.0
        data_s += sum(migration.timeout_s for migration in release.migrations)
        return release.health.deadline_s + release.health.soak_s + data_s
    return sorted(past_s)[math.ceil(QUANTILE * len(past_s)) - 1]


def expected_of(past_s: Sequence[float], work: Workload, kind: Kind) -> float:
    """Seconds, as `expected_s`; without enough of the past, each batch of instances is allowed as much anew."""
    whole_s = expected_s(past_s, work.release)
    further = len(batches(work, ENGINES[kind])) - 1
    if len(past_s) >= PAST_MIN or not further:
        return whole_s
    health = work.release.health
    return whole_s + further * (health.deadline_s + max(health.soak_s, work.rollout.pause_s))
