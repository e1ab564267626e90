"""One upgrade: its phases, the legal moves between them, and its identity."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from reconciler.model.environment import ChangeClass
from reconciler.model.performance import Baseline
from reconciler.model.succession import Place
from reconciler.model.target import Target, Workload

OPERATION_TRAILER = "Ugs-Operation"
"""Of a revert commit: the upgrade that failed."""
RETRY_TRAILER = "Ugs-Retry"
"""A person's word that this operation may be tried once more."""


class Phase(StrEnum):
    PLANNED = "planned"
    WAITING = "waiting"
    PREPARING = "preparing"
    APPLYING = "applying"
    VERIFYING = "verifying"
    RESTORING = "restoring"
    REVERTING = "reverting"
    SUCCEEDED = "succeeded"
    REVERTED = "reverted"
    RESTORED = "restored"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    STUCK = "stuck"


NEXT: dict[Phase, frozenset[Phase]] = {
    Phase.PLANNED: frozenset({Phase.WAITING, Phase.PREPARING, Phase.SUPERSEDED, Phase.CANCELLED}),
    Phase.WAITING: frozenset({Phase.PREPARING, Phase.SUPERSEDED, Phase.CANCELLED}),
    # Back to waiting is the host's own trouble: parked. To reverting is an artifact that can never be right.
    # To restoring is a later step of a way that goes back whole, with what it needs.
    Phase.PREPARING: frozenset(
        {
            Phase.APPLYING,
            Phase.WAITING,
            Phase.RESTORING,
            Phase.REVERTING,
            Phase.SUPERSEDED,
            Phase.CANCELLED,
            Phase.STUCK,
        }
    ),
    # Here and in preparing, to stuck: a bug of ours ended the daemon again and again. To cancelled: safe mode.
    # To reverting and stuck also where what was done to the data cannot be taken back: what runs is left alone.
    # To succeeded is a removal: nothing is left to be proven. To waiting, one that this machine kept from it.
    Phase.APPLYING: frozenset(
        {
            Phase.VERIFYING,
            Phase.RESTORING,
            Phase.REVERTING,
            Phase.SUCCEEDED,
            Phase.WAITING,
            Phase.CANCELLED,
            Phase.STUCK,
        }
    ),
    # To applying: the next batch.
    Phase.VERIFYING: frozenset(
        {Phase.APPLYING, Phase.SUCCEEDED, Phase.RESTORING, Phase.SUPERSEDED, Phase.STUCK}
    ),
    # To cancelled: a person moved the pin back. To waiting: the host's own trouble, the old version runs again.
    Phase.RESTORING: frozenset({Phase.REVERTING, Phase.CANCELLED, Phase.WAITING, Phase.STUCK}),
    Phase.REVERTING: frozenset({Phase.REVERTED, Phase.RESTORED, Phase.STUCK}),
    Phase.SUCCEEDED: frozenset(),
    Phase.REVERTED: frozenset(),
    Phase.RESTORED: frozenset(),
    Phase.SUPERSEDED: frozenset(),
    Phase.CANCELLED: frozenset(),
    Phase.STUCK: frozenset(),
}
NOT_BEGUN = frozenset({Phase.PLANNED, Phase.WAITING})
FINAL = frozenset(phase for phase, following in NEXT.items() if not following)


class Companion(Struct, frozen=True):
    """One service that goes back together with an upgrade that failed: decided once, before anything is done.

    `pinned` and `back` are pins as JSON: what has to stand in Git, and what is put there (None: nothing).
    """

    service: str
    pinned: str
    back: str | None
    failed: Target
    """What the commit pinned."""
    restored: Target | None
    why: str
    operation: str = ""
    """The upgrade that takes it back, or ended because of it; empty where there was none."""
    after: tuple[str, ...] = ()
    """Operations that have to be restored before this one."""
    needs: dict[str, str] = {}
    """By service, what its failed version needs of those that go back; empty: it shares their fate."""
    outcome: str = ""
    """Why Git was left alone; empty while that is not known, and where its pin was put back."""


class Upgrade(Struct, frozen=True):
    """One change being carried out, as the journal keeps it. Times are aware and in UTC."""

    operation: str
    environment: str
    service: str
    change_class: ChangeClass
    revision: str
    attempt: int
    phase: Phase
    before: Workload | None
    """What to bring back: last-good, None for a first deployment."""
    after: Workload | None
    """What to reach; None for a removal."""
    running: Target | None
    """What ran when this was planned."""
    created_at: datetime
    changed_at: datetime
    reason: str = ""
    entered_at: datetime | None = None
    """When it came into its phase; `changed_at` is also that of the reason."""
    started_at: datetime | None = None
    verifying_at: datetime | None = None
    ended_at: datetime | None = None
    failed: bool = False
    """A verdict of failure stands: the target is quarantined."""
    aborted: bool = False
    """A person moved the pin back: what was applied is taken back without a verdict."""
    needs_person: bool = False
    """What was restored did not prove healthy either: once the pin is settled, a person has to look."""
    parked_until: datetime | None = None
    """The host's own trouble: not tried again before."""
    tries: int = 0
    """How often the host's own trouble has parked this."""
    batch: int = 0
    """Which batch of its instances it is at, from 0."""
    revert_commit: str | None = None
    actor: str = "ugs"
    goal: Workload | None = None
    """What is pinned, where this is only a step on the way there."""
    companions: tuple[Companion, ...] = ()
    """Who goes back with this failed upgrade, dependents before what they need."""
    restore_after: tuple[str, ...] = ()
    """Operations that have to be restored before this one."""
    taken_with: str = ""
    """The failed operation with which this one goes back, and which settles its pin."""
    rollout: str = ""
    """The operation that is the same on every host, of which this is one host's part; empty where there is but one."""
    leads: bool = False
    """Of all hosts' parts, this one sees to the service's data."""

    baseline: Baseline | None = None
    """What ran before, as it was measured just before anything was touched; None where nothing is compared."""
    suspect: bool = False
    """It failed on one host of many, which looks ill itself: the other hosts are not told."""
    epoch: int = 0
    """Of the environment's lease, under which it last came to something; 0: there is no lease, or nobody wrote it."""
    row: int = 0
    """The newest row of the audit before that."""

    @property
    def place(self) -> Place:
        """When it last came to something."""
        return Place(self.epoch, self.row, self.changed_at)

    @property
    def named(self) -> str:
        """The operation under which its target is quarantined, wherever that is."""
        return self.rollout or self.operation

    @property
    def final(self) -> bool:
        return self.phase in FINAL

    @property
    def pinned(self) -> Workload | None:
        """What the pin asks for."""
        return self.goal or self.after

    @property
    def to(self) -> Target | None:
        return self.after.target if self.after else None


def operation_id(
    environment: str, service: str, before: Target | None, after: Target | None, revision: str, attempt: int
) -> str:
    """Sixteen hex digits that are the same for the same attempt at the same change, on whatever machine."""
    parts = (environment, service, str(before), str(after), revision, str(attempt))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def check_move(upgrade: Upgrade, to: Phase) -> None:
    """Raise RuntimeError (a bug) when the table does not allow the move."""
    if to not in NEXT[upgrade.phase]:
        raise RuntimeError(f"{upgrade.operation}: illegal move {upgrade.phase} -> {to}")
