"""An environment as some commit had it."""

from __future__ import annotations

from msgspec import Struct

from reconciler.model import desired as desiring
from reconciler.model.desired import Frozen
from reconciler.model.environment import Environment
from reconciler.model.snapshot import Snapshot
from reconciler.model.steps import hop
from reconciler.model.target import Workload
from reconciler.model.version import Version


class Then(Struct, frozen=True):
    """An environment as it stood at some revision."""

    name: str
    """The environment's, at that time."""
    snapshot: Snapshot
    frozen: Frozen

    @property
    def environment(self) -> Environment | None:
        """None where the repository did not have it, or had it in a file that could not be read."""
        return self.snapshot.environments.get(self.name)

    def workload(self, service: str) -> Workload | None:
        """What it asked of a service; None where nothing, or nothing readable."""
        return desiring.asked_of(self.snapshot, self.name, service, self.frozen)

    def on_the_way(self, service: str, version: Version) -> Workload | None:
        """What it asked of a service with that version on the way to the pinned one; None where nothing of that."""
        goal, release = self.workload(service), self.snapshot.releases.get((service, version.text))
        if goal is None or release is None or self.environment is None:
            return None
        return hop(self.environment, goal, desiring.in_force(release, self.frozen))

    @property
    def names(self) -> tuple[str, ...]:
        """What it was called then, and before."""
        old = self.environment.renamed_from if self.environment else None
        return (self.name, old) if old else (self.name,)

    def asks_by_one_name(self, service: str, work: Workload | None) -> bool:
        """Whether it asked for `work`, and said of no other name that it was its own."""
        return len(self.names) == 1 and self.asks(service, work)

    def asks(self, service: str, work: Workload | None) -> bool:
        """Whether it asked for `work` to run, or with None for the service to be removed."""
        here, hidden = self.environment, self.name in self.snapshot.blind
        if work is None and here is None:
            return not hidden
        if here is None:
            return False
        if work is None:
            pinned = hidden or service in here.pins or (self.name, service) in self.snapshot.blind_pins
            return here.policy.prune and not pinned
        found = self.workload(service)
        return found is not None and found.target == work.target
