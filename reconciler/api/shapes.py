"""The shapes of answers, as docs/cli.md lists them: what the served description of the API is made from."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field


class GateShape(Struct, frozen=True):
    gate: str
    open: bool
    reason: str
    until: datetime | None
    opened_by: str


class ErrorShape(Struct, frozen=True):
    """What is wrong in a file of the repository."""

    file: str
    line: int
    column: int
    path: str
    message: str
    remedy: str


class InstanceShape(Struct, frozen=True):
    index: int
    target: str
    state: str
    pid: int | None
    started_at: datetime | None
    detail: str
    drift: str


class ServiceShape(Struct, frozen=True):
    service: str
    pinned: str | None
    running: str | None
    sync: str
    health: str
    phase: str | None
    sentence: str
    instances: list[InstanceShape]


class LeaseShape(Struct, frozen=True):
    held: bool
    epoch: int | None
    sentence: str


class HostsShape(Struct, frozen=True):
    name: str | None
    sentence: str


class EnvironmentShape(Struct, frozen=True):
    environment: str
    revision: str | None
    safe_mode: str | None
    lease: LeaseShape
    hosts: HostsShape
    services: list[ServiceShape]


class DaemonShape(Struct, frozen=True):
    pid: int
    version: str
    started_at: datetime
    state: str
    sentence: str


class StepShape(Struct, frozen=True):
    """One step of an upgrade's journal."""

    step: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str
    detail: str


class StayShape(Struct, frozen=True):
    """One stay of an upgrade in one phase; null while it lasts."""

    phase: str
    entered_at: datetime
    left_at: datetime | None
    lasted_s: float | None


class CompanionShape(Struct, frozen=True):
    service: str
    operation: str | None
    from_: str = field(name="from")
    to: str | None
    reason: str
    left: str | None


class UpgradeShape(Struct, frozen=True):
    """One upgrade, and its journal."""

    operation: str
    change: str
    environment: str
    service: str
    class_: str = field(name="class")
    from_: str | None = field(name="from")
    to: str | None
    revision: str
    phase: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    reason: str
    revert_commit: str | None
    taken_with: str | None
    companions: list[CompanionShape]
    phases: list[StayShape]
    steps: list[StepShape]


class StatusShape(Struct, frozen=True):
    as_of: datetime
    fetched_at: datetime | None
    daemon: DaemonShape
    needs_person: list[str]
    errors: list[ErrorShape]
    environments: list[EnvironmentShape]
    next: str | None = None
    """Where the next page begins; null on the last."""
    upgrade: UpgradeShape | None = None
    """The one that was asked for by `operation`."""


class HistoryShape(Struct, frozen=True):
    upgrades: list[UpgradeShape]
    next: str | None


class MigratingShape(Struct, frozen=True):
    version: str
    id: str
    phase: str
    reversible: bool


class SwitchedShape(Struct, frozen=True):
    name: str
    from_: Any = field(name="from")
    to: Any


class WayShape(Struct, frozen=True):
    """One step on the way to what is pinned."""

    version: str
    class_: str = field(name="class")
    opens_at: datetime | None
    closes_at: datetime | None
    starts_at: datetime | None
    unknown: str | None
    duration_s: float


class PromotionShape(Struct, frozen=True):
    """What comes to a pin from the environment before; `why` it is not moved yet."""

    from_: str = field(name="from")
    by: str
    version: str | None
    since: datetime | None
    why: str | None
    until: datetime | None


class ExplainShape(Struct, frozen=True):
    sentence: str
    gates: list[GateShape]
    path: list[str]
    starts_at: datetime | None
    steps: list[WayShape]
    backup: bool
    migrations: list[MigratingShape]
    flags: list[SwitchedShape]
    proposed: list[ProposedShape]
    promotion: PromotionShape | None = None
    """Null where UGS moves no pins of this environment."""


class ProposedShape(Struct, frozen=True):
    """A pull request that the daemon itself has open for another version."""

    version: str
    by: str
    """bump, promote"""
    url: str


class ChangeShape(Struct, frozen=True):
    """A change that is planned. Between two revisions it has more to say of itself."""

    change: str
    environment: str
    service: str
    from_: str | None = field(name="from")
    to: str | None
    class_: str = field(name="class")
    path: list[str]
    gates: list[GateShape]
    starts_at: datetime | None
    duration_s: float | None
    backup: bool
    migrations: list[MigratingShape]
    flags: list[SwitchedShape]
    revision: str | None = None


class PlanShape(Struct, frozen=True):
    """With `basis`, between two revisions: then it also has `added`, `removed`, `settings` and `errors`."""

    from_revision: str | None
    to_revision: str | None
    changes: list[ChangeShape]
    flags: list[dict[str, Any]]
    """Live ones that would be switched, and deploy nothing."""
    basis: str | None = None


class OperationShape(Struct, frozen=True):
    operation: str


class CommitShape(Struct, frozen=True):
    commit: str


class RevisionShape(Struct, frozen=True):
    revision: str


class QuarantineShape(Struct, frozen=True):
    environment: str
    service: str
    target: str
    operation: str
    reason: str
    quarantined_at: datetime
    restored: str | None
    revert_commit: str | None


class QuarantinesShape(Struct, frozen=True):
    quarantine: list[QuarantineShape]


class ReleasedShape(Struct, frozen=True):
    operation: str
    target: str


class ReleasedsShape(Struct, frozen=True):
    released: list[ReleasedShape]


class RecoveringShape(Struct, frozen=True):
    service: str
    pinned: str | None
    running: str | None
    last_good: str | None
    quarantined: list[str]
    on_accept: str


class RecoveryShape(Struct, frozen=True):
    environment: str
    reason: str
    since: datetime
    base: str | None
    services: list[RecoveringShape]


class RecoveriesShape(Struct, frozen=True):
    environments: list[RecoveryShape]


class AcceptedShape(Struct, frozen=True):
    accepted: list[str]
