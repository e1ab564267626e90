"""Every reason to wait, in one list, evaluated in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from reconciler.model import permits as said
from reconciler.model import rules
from reconciler.model.adoption import adopted
from reconciler.model.circumstances import Asked, Circumstances, Gate
from reconciler.model.environment import Policy
from reconciler.model.hosts import rollout_id
from reconciler.model.plan import Change, may_go_back
from reconciler.model.progressive import turn
from reconciler.model.range import Range

INITIAL_AT_ONCE_MAX = 5
PARK_MAX_S = 600.0
"""Nothing that this machine hinders waits longer before it is tried again."""
Judge = Callable[[Change, Circumstances, datetime], Gate]


def evaluate(
    change: Change, around: Circumstances, *, now: datetime, judges: Sequence[Judge] | None = None
) -> tuple[Gate, ...]:
    """Every gate for one change, or those named by `judges`, open ones too, in the order in which they are told."""
    gates = [judge(change, around, now) for judge in (GATES if judges is None else judges)]
    return tuple(gate if gate.open else _passed_by(gate, change, around, now) for gate in gates)


def judged(change: Change, asked: Asked, policy: Policy, *, now: datetime) -> Change:
    """The change with the urgency that its release had in the commit that asked for it, and no rollback where only
    the very push that asked for it has made it one."""
    if change.replaced_at and _made_a_rollback(change.replaced_at, asked, now):
        step = said.step_class(change, zero_minor=policy.zero_minor)
        change = replace(change, change_class=step, downgrade=True)
    if change.change_class == "emergency" and asked.urgency == "normal":
        return replace(change, change_class=said.step_class(change, zero_minor=policy.zero_minor))
    if change.change_class in ("major", "minor", "patch") and asked.urgency == "emergency":
        return replace(change, change_class="emergency")
    return change


def _made_a_rollback(replaced_at: datetime, asked: Asked, now: datetime) -> bool:
    """Whether `policy.rollback_within` reached back far enough after the push that moved the pin, and not before."""
    earlier = (may_go_back(replaced_at, one.environment.policy, now=now) for one in asked.earlier)
    since = asked.since is not None and may_go_back(replaced_at, asked.since.policy, now=now)
    return since and not all(earlier)


def closed(gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
    return tuple(gate for gate in gates if not gate.open)


def starts_at(gates: tuple[Gate, ...], *, now: datetime) -> datetime | None:
    """When every gate will be open as far as the clock alone decides; None when a person or an event must."""
    waits = [gate.until for gate in closed(gates)]
    return max((until for until in waits if until is not None), default=now) if None not in waits else None


def _passed_by(gate: Gate, change: Change, around: Circumstances, now: datetime) -> Gate:
    """A closed gate that somebody has overridden counts as open, and says so."""
    if gate.gate not in said.OVERRIDABLE:
        return gate
    permit = said.overridden(around.permits, gate.gate, around.environment, change.service, now=now)
    if permit is None:
        return gate
    return Gate(gate.gate, open=True, reason=said.override_text(permit, said.zone_of(around.environment)))


def _quarantine(change: Change, around: Circumstances, _now: datetime) -> Gate:
    after, why = change.after, None
    if after:
        why = around.quarantined.get((change.service, after.target))
    if why is None and change.goal and around.environment.hosts:  # a rollout is of the whole way
        after = change.goal
        why = around.quarantined.get((change.service, after.target))
    if after is None or why is None:
        if fate := around.fate.get(change.service):
            return Gate(
                "quarantine", open=False, reason=fate, opened_by="a retry of what failed, or another commit"
            )
        return Gate("quarantine", open=True)
    return Gate(
        "quarantine",
        open=False,
        reason=f"{after.target.version} failed here before ({why}) and is quarantined",
        opened_by=f"ugs retry {change.environment} {change.service}",
    )


def _trust(change: Change, around: Circumstances, _now: datetime) -> Gate:
    distrusted = around.distrusted.get((change.service, change.goal.target)) if change.goal else None
    asked = around.asked.get(change.service)
    if distrusted is None and asked and asked.strange:
        remedy = "a pin of that version first, or its file committed anew, by one who may"
        return Gate("trust", open=False, reason=asked.strange, opened_by=remedy)
    return distrusted or Gate("trust", open=True)


def _recovery(change: Change, around: Circumstances, _now: datetime) -> Gate:
    if around.recovery is None or change.service in around.later:
        return Gate("recovery", open=True)
    return Gate(
        "recovery",
        open=False,
        reason=f"safe mode: {around.recovery.reason}",
        opened_by=f"ugs recover --accept {change.environment}, or a later commit that moves the pin",
    )


def _path(change: Change, around: Circumstances, _now: datetime) -> Gate:
    if change.goal and change.downgrade and not _downgrade_allowed(change, around):
        base = change.running or (change.before and change.before.target)
        return Gate(
            "path",
            open=False,
            reason=f"{change.goal.target.version} is older than the running {base.version if base else 'one'} "
            f"(pinned at {change.goal.place})",
            opened_by="allow_downgrade: true at the pin, or a pin to a newer version",
        )
    if change.blocked:
        return Gate("path", open=False, reason=change.blocked, opened_by=change.unblocked_by)
    return Gate("path", open=True)


def _dependency(change: Change, around: Circumstances, _now: datetime) -> Gate:
    if taken := around.taken_back.get(change.service):
        return Gate("dependency", open=False, reason=taken, opened_by="the end of that operation")
    if refused := around.refused.get(change.service):
        return Gate(
            "dependency", open=False, reason=refused, opened_by="a commit that pins what fits together"
        )
    first = sorted(around.after.get(change.service, ()))
    unmet = [f"it comes after {', '.join(first)}"] if first else []
    unmet += [
        sentence
        for service, wanted in sorted(change.after.release.requires.items() if change.after else ())
        if service not in first and (sentence := _unmet(service, wanted, around))
    ]
    if not unmet:
        return Gate("dependency", open=True)
    return Gate("dependency", open=False, reason="; ".join(unmet), opened_by="the services that it requires")


def _adoption(change: Change, around: Circumstances, now: datetime) -> Gate:
    observation = around.observed.get(change.service)
    if change.after is not None and observation is not None and observation.foreign:
        permit = adopted(around.permits.adoptions, change.service, now=now)
        if permit is None:
            return Gate(
                "adoption",
                open=False,
                reason=f"{observation.foreign}: that is not ours, and is left alone",
                opened_by=f"ugs adopt {change.environment} {change.service}",
            )
    if change.before is None and (change.running is not None or change.after is None):
        return Gate(
            "adoption",
            open=False,
            reason=f"{change.running or 'something'} runs, but nothing that is known here describes it, so it "
            "could not be brought back",
            opened_by="a pin to what runs, as it runs",
        )
    if (
        change.change_class == "initial"
        and around.initials > INITIAL_AT_ONCE_MAX
        and not around.first_accepted
    ):
        return Gate(
            "adoption",
            open=False,
            reason=f"{around.initials} services would be deployed here for the first time, all at once",
            opened_by="ugs run --accept-first",
        )
    return Gate("adoption", open=True)


def _stale(_change: Change, around: Circumstances, now: datetime) -> Gate:
    if around.fetched_at is not None and now - around.fetched_at <= timedelta(seconds=around.max_stale_s):
        return Gate("stale", open=True)
    since = (
        f"since {around.fetched_at:%Y-%m-%d %H:%M:%S} UTC"
        if around.fetched_at
        else "since the daemon started, or since the clock was set"
    )
    return Gate(
        "stale",
        open=False,
        reason=f"the repository could not be fetched {since}, so what is known may be out of date",
        opened_by="a fetch that succeeds",
    )


def _lease(_change: Change, around: Circumstances, _now: datetime) -> Gate:
    return rules.from_opening("lease", around.lease)


def _rollout(change: Change, around: Circumstances, now: datetime) -> Gate:
    place = around.environment
    if not place.hosts or change.goal is None or change.change_class == "rollback":
        return Gate("rollout", open=True)
    known, asked, to = (
        around.rollouts.get(change.service),
        around.asked.get(change.service),
        change.goal.target,
    )
    if asked:
        operation = rollout_id(place.name, change.service, to, asked.revision)
    else:  # which commit asked for it is looked at again before it starts
        operation = known.operation if known and known.to == to else ""
    state = turn(place, known, operation, host=around.host, to=to, now=now)
    return rules.from_opening("rollout", state)


def _host(change: Change, around: Circumstances, now: datetime) -> Gate:
    parked = around.parked.get(change.service)
    # Further away than anything was ever parked for: somebody has set the clock back since.
    if parked is None or not now < parked[1] <= now + timedelta(seconds=PARK_MAX_S):
        return Gate("host", open=True)
    return Gate("host", open=False, reason=parked[0], until=parked[1], opened_by="mending this machine")


def _hold(change: Change, around: Circumstances, now: datetime) -> Gate:
    state = said.hold_gate(around.permits, around.environment, change.service, now=now)
    return rules.from_opening("hold", state)


def _concurrency(change: Change, around: Circumstances, _now: datetime) -> Gate:
    limit = around.environment.policy.parallel
    if change.service in around.busy or len(around.busy) < limit:
        return Gate("concurrency", open=True)
    return Gate(
        "concurrency",
        open=False,
        reason=f"{len(around.busy)} upgrades are under way, and policy.parallel is {limit}",
        opened_by="an upgrade that ends",
    )


BETWEEN_BATCHES = frozenset({"window", "freeze", "hold", "approval"})
"""The gates that are looked at again before the next batch of an upgrade under way."""
GATES: tuple[Judge, ...] = (
    _quarantine,
    _trust,
    _recovery,
    _hold,
    _path,
    _dependency,
    _adoption,
    rules.approval,
    rules.promotion,
    rules.freeze,
    rules.window,
    rules.fit,
    _stale,
    _lease,
    _rollout,
    _host,
    _concurrency,
)
CALENDAR: tuple[Judge, ...] = (rules.freeze, rules.window, rules.fit)
"""Those that the calendar alone opens."""
TIMED: tuple[Judge, ...] = (_hold, rules.promotion, *CALENDAR)
"""Those that may say when they open: a hold that ends, a time to prove healthy elsewhere first."""


def _downgrade_allowed(change: Change, around: Circumstances) -> bool:
    pin = around.environment.pins.get(change.service)
    return pin is not None and pin.allow_downgrade


def _unmet(service: str, wanted: str, around: Circumstances) -> str:
    observation = around.observed.get(service)
    if service in around.busy:
        return f"it needs {service} {wanted}, which is being upgraded"
    if observation is None or observation.running is None:
        return f"it needs {service} {wanted}, which does not run"
    version = observation.running.version
    return "" if Range.parse(wanted).contains(version) else f"it needs {service} {wanted}, and {version} runs"
