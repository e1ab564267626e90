"""What a daemon knows of an environment, beside the repository, that bears on what is only proposed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.circumstances import Circumstances, Gate, Promoted
from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.expectation import PAST_MIN, expected_s
from reconciler.model.permits import Permits
from reconciler.model.plan import Change
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
    authors: tuple[str, ...] | None = None
    """Names and addresses of those who wrote what is proposed; None when they are not known."""
    reviewed: Mapping[str, str] = {}
    """By service whose change the reviews of what is proposed are among `permits` for, as they would count once it is
    merged: what else is to say of them."""

    def around(self, around: Circumstances) -> Circumstances:
        """What the gates look at, with what is known."""
        return replace(
            around,
            quarantined=self.quarantined,
            permits=self.permits,
            floor=self.floor,
            promoted=self.promoted,
            reviewed=self.reviewed,
            asked={service: replace(one, authors=self.authors) for service, one in around.asked.items()},
        )

    def counted(self, change: Change, gates: Collection[Gate], here: Environment) -> str:
        """How the reviews count that its gates have been shown as if it were merged; empty where none were."""
        if change.service not in self.reviewed:
            return ""
        enough = any(gate.gate == "approval" and gate.open for gate in gates)
        told = "enough people approve it" if enough else "more people have to approve it"
        told += ": reviews of this very head count once it is merged"
        eyes = here.policy.four_eyes
        return told + ("; not those of whoever merges it, who counts as one who wrote it" if eyes else "")

    def usual_s(self, service: str, work: Workload | None) -> float | None:
        """What 19 of 20 past upgrades of it took at most, None where too few are known."""
        past_s = self.past_s.get(service, ())
        return expected_s(past_s, work.release) if work and len(past_s) >= PAST_MIN else None
