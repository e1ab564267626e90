"""What a commit would change, as people are shown it before they merge."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from reconciler.model.circumstances import Gate
from reconciler.model.data import Pending
from reconciler.model.environment import ChangeClass
from reconciler.model.errors import Problem
from reconciler.model.flags import Switched
from reconciler.model.impact import Need
from reconciler.model.itinerary import Step
from reconciler.model.plan import Change
from reconciler.model.release import Release
from reconciler.model.standing import Standing
from reconciler.model.version import Version


class Pinned(Struct, frozen=True):
    """A pin that came or went."""

    environment: str
    service: str
    version: Version


class Planned(Struct, frozen=True):
    """One service that would be changed."""

    change: Change
    """The first step: its `goal` is what is pinned."""
    change_class: ChangeClass
    """Of the whole way; each step has its own."""
    zone: str
    """The environment's, in which to tell instants."""
    after: tuple[str, ...]
    """Services whose changes come first."""
    gates: tuple[Gate, ...]
    starts_at: datetime | None
    """Merged now, and as far as the calendar alone decides; None where something else must come first."""
    downtime: bool
    impact: tuple[str, ...]
    """Services that require this one, also by way of others."""
    steps: tuple[Step, ...] = ()
    """Empty for a removal, and where no way leads there: the gate `path` says why."""
    irreversible: tuple[Version, ...] = ()
    """Releases on the way that UGS never takes back by itself."""
    saved: bool = False
    """The service's data is saved first."""
    migrations: tuple[Pending, ...] = ()
    """Changes of the service's data on the way, taken that those of what runs are applied."""
    withdrawn: str = ""
    """Why the new release is withdrawn, empty when it is not."""
    needs: tuple[Need, ...] = ()
    notes: tuple[Release, ...] = ()
    """The releases whose notes tell the change, newest first."""
    differences: tuple[str, ...] = ()
    """What is set otherwise, each in words; never a value."""
    flags: tuple[Switched, ...] = ()
    under_way: str = ""
    """The step of this service that is being taken at this moment, where somebody knows."""
    usual_s: float | None = None
    """How long it is expected to take by what past upgrades took; None where that is not known."""

    reviewed: str = ""
    """How reviews of the pull request count for it; empty where nobody looked at them."""

    @property
    def longest_s(self) -> float | None:
        """Deadline and soak of every step; None where there is no way."""
        return sum(one.expected_s for one in self.steps) if self.steps else None

    @property
    def ends_at(self) -> datetime | None:
        """When the last step has taken its time, or a removal begins; None where nobody knows."""
        if self.change.goal is None:
            return self.starts_at
        last = self.steps[-1].ends_at if self.steps else None
        return last if self.starts_at is not None else None


class FlagMove(Struct, frozen=True):
    """A live flag that would stand otherwise; None where nothing that is pinned declares it.

    `waits`: whether it may have to wait for a window.
    """

    environment: str
    flag: str
    before: Standing | None
    after: Standing | None
    waits: bool


class Preview(Struct, frozen=True):
    """Everything that `after` would change. `problems` are those that `before` does not have."""

    changes: tuple[Planned, ...]
    added: tuple[Pinned, ...]
    removed: tuple[Pinned, ...]
    settings: tuple[tuple[str, str], ...]
    """(environment, key) of what an environment sets otherwise, pins apart."""
    problems: tuple[Problem, ...]
    flags: tuple[FlagMove, ...] = ()
    """Live ones, which deploy nothing; the others are told with the changes of their services."""
