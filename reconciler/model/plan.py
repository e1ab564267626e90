"""From what is asked for, what runs and what is remembered, to the changes that would bring them together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from reconciler.model.desired import Desired
from reconciler.model.drift import drift_of
from reconciler.model.environment import ChangeClass, Policy
from reconciler.model.observation import Observation, Sync
from reconciler.model.steps import steps_to
from reconciler.model.target import Target, Workload
from reconciler.model.version import Version, step_between


class Good(Struct, frozen=True):
    """A target that proved healthy here, and when it last did."""

    work: Workload
    at: datetime


class Records(Struct, frozen=True):
    """What is remembered of one environment."""

    good: Mapping[str, tuple[Good, ...]] = {}
    """By service, newest first: the first is last-good, the second what it directly replaced."""
    attempted: Mapping[str, Version] = {}
    """By service, the version that was last deployed here, proven or not: a service in it is not new."""
    removing: Mapping[str, bool] = {}
    """By service whose removal is on record and has not ended: whether any of it may have been stopped."""
    left: Mapping[str, Target] = {}
    """By service of which something else runs than last-good: what its last upgrade left running."""
    settled: frozenset[str] = frozenset()
    """Services of which `good` says nothing, since nothing about them is to be decided."""


class Change(Struct, frozen=True, gc=False):
    """One service that should run something else than it does."""

    environment: str
    service: str
    change_class: ChangeClass
    running: Target | None
    before: Workload | None
    """Last-good: what to bring back should it fail."""
    after: Workload | None
    """What this step reaches; None for a removal."""
    downgrade: bool
    """A way down that is no rollback: needs `allow_downgrade`."""
    goal: Workload | None
    """What is pinned: the last step's end; None for a removal."""
    path: tuple[str, ...] = ()
    """The versions on the way, the pinned one last; empty where no way leads there."""
    blocked: str = ""
    """Why no way leads to what is pinned; empty when one does."""
    unblocked_by: str = ""
    replaced_at: datetime | None = None
    """Of a way back that only `policy.rollback_within` makes a rollback: since when that length counts."""

    @property
    def to(self) -> Target | None:
        """What is pinned; None for a removal."""
        return self.goal.target if self.goal else None


def plan(
    desired: Desired, observed: Mapping[str, Observation], records: Records, *, now: datetime
) -> list[Change]:
    """The changes that bring the environment to its pins, in the order of the services' names."""
    moved = [
        change_to(desired, work, observed.get(service), records, now=now)
        for service, work in desired.workloads.items()
        if service not in records.settled
        and _wanted(work, observed.get(service), records.good.get(service, ()), records.left.get(service))
    ]
    removed = [
        removal_of(desired, service, observed.get(service), records)
        for service in unwanted(desired, observed, records.removing)
    ]
    return sorted([*moved, *removed], key=lambda change: change.service)


def unwanted(
    desired: Desired, observed: Mapping[str, Observation], removing: Collection[str]
) -> frozenset[str]:
    """What runs, or is already to be removed (`removing`), and is to be stopped since nothing pins it.

    Nothing where a pin may only be out of sight, nor where `policy.prune` lets such services run on.
    """
    if desired.hidden or not (desired.gone is not None or desired.environment.policy.prune):
        return frozenset()
    return frozenset((observed.keys() | set(removing)) - desired.workloads.keys() - desired.blind)


def removal_of(desired: Desired, service: str, observation: Observation | None, records: Records) -> Change:
    """The change that stops a service."""
    good = records.good.get(service, ())
    return Change(
        environment=desired.environment.name,
        service=service,
        change_class="removal",
        running=observation.running if observation else None,
        before=good[0].work if good else None,
        after=None,
        downgrade=False,
        goal=None,
    )


def change_to(
    desired: Desired, work: Workload, observation: Observation | None, records: Records, *, now: datetime
) -> Change:
    """The change that would make `work` run, whatever runs now."""
    good = records.good.get(work.service, ())
    running = observation.running if observation else None
    attempted, policy = records.attempted.get(work.service), desired.environment.policy
    steps = steps_to(desired, work, base_of(running, work, good, attempted))
    change_class, downgrade = classify(running, steps.first, good, attempted, policy, now)
    timed = change_class == "rollback" and steps.first.target != good[0].work.target
    return Change(
        environment=desired.environment.name,
        service=work.service,
        change_class=change_class,
        running=running,
        before=good[0].work if good else None,
        after=steps.first,
        downgrade=downgrade,
        goal=work,
        path=steps.path,
        blocked=steps.blocked,
        unblocked_by=steps.unblocked_by,
        replaced_at=good[0].at if timed else None,
    )


def repairs(
    desired: Desired, observed: Mapping[str, Observation], records: Records, busy: frozenset[str]
) -> list[Workload]:
    """What should run already and does not, or not wholly: to be started again, which is no upgrade.

    What waits to be removed should run until then.
    """
    waiting = {
        service
        for service in unwanted(desired, observed, records.removing)
        if records.removing.get(service) is False
    }
    return [
        good[0].work
        for service, good in sorted(records.good.items())
        if good
        and service not in busy
        and (service in desired.workloads or service in desired.blind or service in waiting or desired.hidden)
        and needs_repair(good[0].work, observed.get(service))
    ]


def leftovers(
    desired: Desired, observed: Mapping[str, Observation], records: Records, busy: frozenset[str]
) -> list[Workload]:
    """What is pinned, last-good and wholly there, while another target runs beside it: the new side of a
    blue-green upgrade that was superseded before it had a verdict, or an old one that could not be stopped."""
    return [
        good[0].work
        for service, good in sorted(records.good.items())
        if good
        and service not in busy
        and (work := desired.workloads.get(service)) is not None
        and work.target == good[0].work.target
        and (observation := observed.get(service)) is not None
        and len(observation.targets) > 1
        and not needs_repair(work, observation)
    ]


def needs_repair(work: Workload, observation: Observation | None) -> bool:
    """Whether an instance of `work` is gone. A target beside it that is not last-good is no cause by itself."""
    if observation is None:
        return True
    present = {instance.index for instance in observation.instances if instance.target == work.target}
    if not present:
        return not observation.instances
    return not set(range(work.instances)) <= present


def classify(
    running: Target | None,
    work: Workload,
    good: tuple[Good, ...],
    attempted: Version | None,
    policy: Policy,
    now: datetime,
) -> tuple[ChangeClass, bool]:
    """The class of the change from what runs to `work`, and whether it is a downgrade that must be allowed."""
    base = base_of(running, work, good, attempted)
    if base is None:
        return "initial", False
    version = work.target.version
    if version == base:
        return "config", False
    down = version < base
    if down and _is_rollback(work.target, good, policy, now):
        return "rollback", False
    if work.release.upgrade.urgency == "emergency":
        return "emergency", down
    return step_between(*sorted((base, version)), zero_minor=policy.zero_minor), down


def base_of(
    running: Target | None, work: Workload, good: tuple[Good, ...], attempted: Version | None
) -> Version | None:
    """The version from which the change starts; None for a service that was never here."""
    last = good[0].work.target.version if good else attempted
    return running.version if running and running != work.target else last


def sync_of(work: Workload | None, observation: Observation | None, *, drifted: bool = False) -> Sync:
    """How what runs compares with what is pinned (`work`, None when nothing is). `drifted`: somebody changed it."""
    if work is None:
        return "unpinned"
    if observation is None or not observation.instances:
        return "foreign" if observation and observation.foreign else "missing"
    if drifted:
        return "drifted"
    if observation.running != work.target:
        return "out-of-sync"
    return "drifted" if needs_repair(work, observation) else "in-sync"


def _wanted(
    work: Workload, observation: Observation | None, good: tuple[Good, ...], left: Target | None
) -> bool:
    """Whether `work` needs a change to run, or to prove that it may: what runs as pinned beside another last-good
    was stuck or superseded before it had. What is last-good already needs a repair at most, and what somebody put
    into its place is drift."""
    proven = bool(good) and good[0].work.target == work.target
    if observation and observation.running == work.target:
        return bool(good) and not proven
    if proven and observation and drift_of(work, observation, work, left):
        return False
    return not (proven and (observation is None or len(observation.targets) != 1))


def _is_rollback(target: Target, good: tuple[Good, ...], policy: Policy, now: datetime) -> bool:
    """A way back that is always open: to last-good, or to what it directly replaced, recently and reversibly."""
    if not good:
        return False
    if target == good[0].work.target:
        return True
    recent = may_go_back(good[0].at, policy, now=now)
    return len(good) > 1 and target == good[1].work.target and recent and good[0].work.release.reversible


def may_go_back(replaced_at: datetime, policy: Policy, *, now: datetime) -> bool:
    """Whether what was replaced then may still be put back as a rollback."""
    return now - replaced_at <= timedelta(seconds=policy.rollback_within_s)
