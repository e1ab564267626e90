"""What a daemon knows of an environment, beside the repository, that bears on what is only proposed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.circumstances import Circumstances, Promoted
from reconciler.model.environment import ChangeClass
from reconciler.model.expectation import PAST_MIN, expected_s
from reconciler.model.permits import Permits
from reconciler.model.target import Target, Workload

KNOWABLE = frozenset({"quarantine", "hold", "promotion"})
"""Gates of which nobody else can say how they stand."""


class Known(Struct, frozen=True):
    """Of one environment. By default: nothing that keeps anything from starting."""

    quarantined: Mapping[tuple[str, Target], str] = {}
    """(service, target) -> why and by which operation."""
    permits: Permits = Permits()
    """Holds (what broke off too much at once is one), overrides and approvals."""
    floor: Mapping[ChangeClass, int] = {}
    """Approvals that the daemon's configuration demands, whatever the repository says."""
    promoted: Mapping[tuple[str, str], Promoted] = {}
    """By environment and service: what proved healthy in the environments that come before."""
    under_way: Mapping[str, str] = {}
    """By service: the step that is being taken at this moment."""
    past_s: Mapping[str, Sequence[float]] = {}
    """By service: how long its last upgrades took."""

    def around(self, around: Circumstances) -> Circumstances:
        """What the gates look at, with what is known."""
        return replace(
            around,
            quarantined=self.quarantined,
            permits=self.permits,
            floor=self.floor,
            promoted=self.promoted,
        )

    def usual_s(self, service: str, work: Workload | None) -> float | None:
        """What 19 of 20 past upgrades of it took at most, None where too few are known."""
        past_s = self.past_s.get(service, ())
        return expected_s(past_s, work.release) if work and len(past_s) >= PAST_MIN else None
