"""What people may say about gates: holds that close one, approvals that open one, overrides that pass by one.

An approval is bound to one ask: what would change, from where, to where, by which way, asked for by which
commit. Whatever else happens in the repository leaves it alone; another ask is another thing to approve.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.adoption import Adoption
from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.plan import Change
from reconciler.model.target import Target, Workload
from reconciler.model.version import Step, step_between
from reconciler.model.window import Opening
from reconciler.model.zone import local_text

OVERRIDE_MAX = timedelta(hours=24)
APPROVAL_LASTS = timedelta(days=7)
"""How long an approval counts when nothing else is said."""
START_LASTS = timedelta(hours=24)
"""So long what a person has started goes on: its batches and later steps too."""
BREAKER = "ugs"
"""Who holds an environment in which too much fails at once, or whose probing is suspect."""
DATA = "ugs: data"
"""Who holds a service with whose data no version is known to get on: a person who has looked releases that, by name."""
OVERRIDABLE = (
    "window",
    "freeze",
    "hold",
    "approval",
    "dependency",
    "promotion",
    "stale",
    "fit",
    "concurrency",
)
NOT_OVERRIDABLE = {
    "trust": "have the commit made again by a signer who may; `ugs explain` says which",
    "quarantine": "say `ugs retry`, which allows one more attempt at what failed",
    "lease": "stop the daemon that has the environment: another takes over",
    "host": "mend this machine: it is tried again by itself",
    "path": "pin a release that may be reached, or set `allow_downgrade: true` at the pin",
    "recovery": "say `ugs recover`, and accept what it shows",
    "adoption": "say `ugs adopt`; for first deployments `ugs run --accept-first`; or pin what runs, as it runs",
}
"""By gate: what to do instead."""

Floor = Mapping[ChangeClass, int]


class Hold(Struct, frozen=True):
    """Nothing starts in an environment, or of one of its services, until it is released or ends."""

    id: int
    environment: str
    service: str | None
    reason: str
    owner: str
    since: datetime
    until: datetime | None


class Ask(Struct, frozen=True):
    """All that an approval is bound to. `from_target`: what runs, else last-good; None for a first deployment."""

    environment: str
    service: str
    from_target: str | None
    to_target: str
    """`nothing` for a removal."""
    path: tuple[str, ...]
    """The versions on the way, the last one included."""
    revision: str


class Approval(Struct, frozen=True):
    """One person's word that what is asked for may start."""

    id: int
    ask: Ask
    by: str
    at: datetime
    until: datetime
    via: str = ""
    """The pull request where it was given by a review; empty where it was said to UGS."""
    owner: bool = False
    """Of a review: by an owner, by CODEOWNERS."""
    known: bool = True
    """Of a review: ugs.yaml says who the account is."""


class Override(Struct, frozen=True):
    """Break-glass: a closed gate counts as open. An open question until a second person confirms it."""

    id: int
    environment: str
    service: str | None
    gate: str
    reason: str
    by: str
    at: datetime
    until: datetime
    confirmed_by: str | None


class Start(Struct, frozen=True):
    """One person's word that a change may start of which no window says when it may: bound to one ask."""

    id: int
    ask: Ask
    by: str
    at: datetime
    until: datetime


class Permits(Struct, frozen=True):
    """What people have said about one environment; what has ended may be among it, and counts for nothing."""

    holds: tuple[Hold, ...] = ()
    approvals: tuple[Approval, ...] = ()
    overrides: tuple[Override, ...] = ()
    adoptions: tuple[Adoption, ...] = ()
    starts: tuple[Start, ...] = ()


def hold_gate(permits: Permits, environment: Environment, service: str, *, now: datetime) -> Opening:
    """Whether no hold keeps the service where it is."""
    holds = [hold for hold in permits.holds if _concerns(hold, environment.name, service, now)]
    if not holds:
        return Opening(True, "nobody holds it", None, "")
    ends = [hold.until for hold in holds]
    return Opening(
        open=False,
        reason="; ".join(hold_text(hold, zone_of(environment)) for hold in holds),
        until=None if None in ends else max(end for end in ends if end is not None),
        opened_by=", ".join(f"ugs hold release {hold.id}" for hold in holds),
    )


def overridden(
    permits: Permits, gate: str, environment: Environment, service: str, *, now: datetime
) -> Override | None:
    """The override that passes by this gate now; of several, the one that lasts longest. None passes by a hold for the
    sake of a service's data."""
    if gate == "hold" and held_for_data(permits, environment.name, service, now=now):
        return None
    return max(
        (
            override
            for override in permits.overrides
            if override.gate == gate and _concerns(override, environment.name, service, now)
        ),
        key=lambda override: override.until,
        default=None,
    )


def held_for_data(permits: Permits, environment: str, service: str, *, now: datetime) -> Hold | None:
    """The hold that UGS itself has put on a service for the sake of its data."""
    holds = (hold for hold in permits.holds if hold.owner == DATA)
    return next((hold for hold in holds if _concerns(hold, environment, service, now)), None)


def starter(environment: str, service: str) -> str:
    """What opens a window that is `manual`."""
    return f"ugs start {environment} {service}"


def started_by(permits: Permits, ask: Ask, *, now: datetime) -> str:
    """Who has started exactly this, or the way of which it is a step; empty where nobody has."""
    return next((one.by for one in permits.starts if now < one.until and covers(one.ask, ask)), "")


def may_repair(permits: Permits, environment: Environment, service: str, *, now: datetime) -> bool:
    """Whether what should run already may be started again: a hold alone keeps it from that, save the breaker's,
    which keeps the unproven from starting, and would make an outage of a reboot."""
    said = replace(permits, holds=tuple(hold for hold in permits.holds if hold.owner != BREAKER))
    if hold_gate(said, environment, service, now=now).open:
        return True
    return overridden(permits, "hold", environment, service, now=now) is not None


def ask_of(change: Change, revision: str, path: tuple[str, ...]) -> Ask:
    """What somebody approves who approves this change: all of its way, whatever its next step reaches."""
    start = _start(change)
    return Ask(
        environment=change.environment,
        service=change.service,
        from_target=str(start) if start else None,
        to_target=str(change.to or "nothing"),
        path=path,
        revision=revision,
    )


def covers(approved: Ask, asked: Ask) -> bool:
    """Whether an approval of the one is an approval of the other: the same, or a later step of its path."""
    if approved == asked:
        return True
    passed, ahead = approved.path[: -len(asked.path)], approved.path[-len(asked.path) :]
    on_the_way = bool(passed) and ahead == asked.path and passed[-1] == version_of(asked.from_target)
    return on_the_way and replace(approved, from_target=asked.from_target, path=asked.path) == asked


def approval_class(change: Change, *, zero_minor: Step = "major") -> ChangeClass:
    """The class by which approvals go: that of the whole way, and for an emergency the SemVer step that it is."""
    if change.change_class != "emergency" and len(change.path) <= 1:
        return change.change_class
    return _step_to(change, change.goal, zero_minor)


def step_class(change: Change, *, zero_minor: Step = "major") -> Step:
    """The SemVer class of the next step of a change, an emergency's too."""
    return _step_to(change, change.after, zero_minor)


def hold_text(hold: Hold, zone: str) -> str:
    """`held by ada until Tue 2026-11-03 18:00 UTC: database move`."""
    end = f" until {local_text(hold.until, zone)}" if hold.until else ""
    return f"held by {hold.owner}{end}: {hold.reason}"


def override_text(override: Override, zone: str) -> str:
    """`overridden by ada until Tue 2026-11-03 18:00 UTC: orders are lost`."""
    return f"overridden by {override.by} until {local_text(override.until, zone)}: {override.reason}"


def zone_of(environment: Environment) -> str:
    return environment.timezone or "UTC"


def _concerns(permit: Hold | Override, environment: str, service: str, now: datetime) -> bool:
    here = permit.environment == environment and permit.service in (None, service)
    return here and (permit.until is None or now < permit.until)


def _start(change: Change) -> Target | None:
    return change.running or (change.before.target if change.before else None)


def _step_to(change: Change, work: Workload | None, zero_minor: Step) -> Step:
    start = _start(change)
    if start is None or work is None:
        return "major"  # nothing says how large the step is: the largest is assumed
    return step_between(*sorted((start.version, work.target.version)), zero_minor=zero_minor)


def version_of(target: str | None) -> str:
    """The version of a target as text; empty for none."""
    return (target or "").partition("@")[0]
