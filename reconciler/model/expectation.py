"""How long an upgrade is expected to take: from what past ones took, else from what its manifest allows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reconciler.model.release import Release

PAST_MIN = 5
QUANTILE = 0.95


def expected_s(past_s: Sequence[float], release: Release) -> float:
    """Seconds. The 95th percentile (nearest rank) of five or more past upgrades, else deadline and soak."""
    if len(past_s) < PAST_MIN:
        return release.health.deadline_s + release.health.soak_s
    return sorted(past_s)[math.ceil(QUANTILE * len(past_s)) - 1]
