"""What a person may say about gates: hold, approve, override, and take each back. What is said wakes the pass."""

from __future__ import annotations

from datetime import datetime

from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet
from reconciler.engine.ledger import tell_of_approval
from reconciler.engine.people import Conflict
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.model import permits as said
from reconciler.model.approvals import approvals_needed
from reconciler.model.circumstances import Asked, Gate
from reconciler.model.environment import Environment
from reconciler.model.errors import UgsError
from reconciler.model.expiry import expiry
from reconciler.model.gates import closed
from reconciler.model.notice import Notice, Severity, mark_of
from reconciler.model.permits import Approval, Hold, Override, Permits
from reconciler.model.persons import same_person, wrote
from reconciler.model.plan import Change
from reconciler.model.upgrade import Phase

REASON_CHARS_MAX = 1_000
IN_FORCE_MAX = 100
"""Of each kind, in one environment: more are a mistake, and everyone has to read them."""
TOUCHED = frozenset({Phase.APPLYING, Phase.VERIFYING, Phase.RESTORING, Phase.REVERTING})


def hold(
    fleet: Fleet,
    environment: str,
    service: str | None,
    *,
    actor: str,
    reason: str,
    until: str | None = None,
    lasting: str | None = None,
) -> Hold:
    """Let nothing start here: until then, for so long, or until it is released."""
    core, here = fleet.core, place(fleet, environment, service)
    why, end = reason_of(reason), end_of(core, until, lasting)
    room(here, len(core.store.permits(environment).holds), "holds", "ugs hold release ID")
    with core.store.transaction():
        made = core.store.hold(environment, service, reason=why, owner=actor, until=end)
        tell(core, environment, service, f"is {said.hold_text(made, _zone(core, environment))}", "info")
    wake(fleet, environment)
    return made


def release_hold(fleet: Fleet, number: int, *, actor: str) -> Hold:
    """End a hold before its time, whoever made it."""
    core = fleet.core
    with core.store.transaction():
        ended = core.store.release_hold(number, by=actor)
        if ended is None:
            raise Conflict(f"there is no hold {number} in force", "see `ugs hold list`")
        text = f"is no longer held by {ended.owner} ({ended.reason}): released by {actor}"
        tell(core, ended.environment, ended.service, text, "info")
    wake(fleet, ended.environment)
    return ended


async def approve(
    fleet: Fleet,
    environment: str,
    service: str,
    *,
    actor: str,
    until: str | None = None,
    lasting: str | None = None,
    shown: str | None = None,
    revision: str | None = None,
) -> Approval:
    """One person's word for the change that is planned at this moment, for a week unless said otherwise.

    `shown`: the mark of what this person saw, `revision`: the commit that asked for it; another change is none that
    he approves.
    """
    core, here = fleet.core, place(fleet, environment, service)
    end = end_of(core, until, lasting) or core.clock.now() + said.APPROVAL_LASTS
    desired, (change, gates) = core.desired[environment], _planned(core, here, service)
    asked = await here.weigher.asked(desired, change)
    shut = {gate.gate for gate in closed(gates)}
    _check_approvable(core, change, asked, desired.environment, actor, guarded="approval" in shut)
    ask = said.ask_of(change, asked.revision, change.path)
    if (shown is not None and mark_of(ask) != shown) or revision not in (None, ask.revision):
        raise Conflict(
            f"{environment}: the change of {service} has moved since that was shown",
            f"look again: `ugs explain {environment} {service}`",
        )
    given = in_force(fleet, environment).approvals
    for one in given:
        if said.covers(one.ask, ask) and same_person(one.by, actor):
            raise Conflict(
                f"{actor} has approved this already (approval {one.id})",
                f"to give it another term, say `ugs approve withdraw {one.id}` first",
            )
    room(here, len(given), "approvals", "ugs approve withdraw ID")
    with core.store.transaction():
        made = core.store.approve(ask, by=actor, until=end)
        tell_of_approval(core, ask, f"approved by {actor}", desired.environment, change, asked)
    wake(fleet, environment)
    return made


def withdraw(fleet: Fleet, number: int, *, actor: str) -> Approval:
    """Take an approval back, as long as nothing that it let start has been touched."""
    core = fleet.core
    with core.store.transaction():
        taken = core.store.withdraw_approval(number, by=actor)
        if taken is None:
            raise Conflict(f"there is no approval {number} in force", "see `ugs approve list`")
        ask = taken.ask
        for upgrade in core.store.upgrades(
            environment=ask.environment, service=ask.service, unfinished=True, limit=10
        ):
            if upgrade.phase in TOUCHED and upgrade.revision == ask.revision:
                raise Conflict(
                    f"{ask.environment}: the change of {ask.service} has started",
                    f"to take it back, say `ugs rollback {ask.environment} {ask.service}`",
                )
    wake(fleet, ask.environment)
    return taken


def override(
    fleet: Fleet,
    environment: str,
    service: str | None,
    *,
    gate: str,
    actor: str,
    reason: str,
    until: str | None = None,
    lasting: str | None = None,
) -> Override:
    """Break-glass: have a closed gate count as open, for at most 24 hours. Told at once, and to be confirmed."""
    core, here = fleet.core, place(fleet, environment, service)
    if gate in said.NOT_OVERRIDABLE:
        raise Conflict(f"nobody can override the gate {gate}", said.NOT_OVERRIDABLE[gate])
    if gate not in said.OVERRIDABLE:
        raise UgsError(f"there is no gate {gate[:50]!r}", f"name one of {', '.join(said.OVERRIDABLE)}")
    standing, now = core.store.permits(environment), core.clock.now()
    if gate == "hold" and (own := said.held_for_data(standing, environment, service or "", now=now)):
        raise Conflict(
            f"{environment}: {service} is held for the sake of its data, and no override passes by that",
            f"look at the data; then say `ugs hold release {own.id}`",
        )
    why, end = reason_of(reason), end_of(core, until, lasting)
    hours = said.OVERRIDE_MAX.total_seconds() / 3600
    if end is None or end - core.clock.now() > said.OVERRIDE_MAX:
        raise UgsError(f"an override lasts for at most {hours:.0f} hours", "say for how long, for example 1h")
    room(here, len(standing.overrides), "overrides", "ugs override confirm ID")
    with core.store.transaction():
        made = core.store.override(environment, service, gate=gate, reason=why, by=actor, until=end)
        text = said.override_text(made, _zone(core, environment))
        question = f"a second person confirms it with `ugs override confirm {made.id}`"
        tell(core, environment, service, f"has the gate {gate} {text}; {question}", "person")
    wake(fleet, environment)
    return made


def confirm(fleet: Fleet, number: int, *, actor: str) -> Override:
    """A second person's word that an override was right, while it lasts or after."""
    core = fleet.core
    with core.store.transaction():
        made = core.store.confirm_override(number, by=actor)
        if made is None:
            raise Conflict(f"there is no override {number} to be confirmed", "see `ugs override list`")
        if same_person(made.by, actor):
            raise Conflict(f"override {number} was made by {actor}", "somebody else confirms it")
        text = f"had the gate {made.gate} overridden by {made.by} ({made.reason}): confirmed by {actor}"
        tell(core, made.environment, made.service, text, "info")
    return made


def in_force(fleet: Fleet, environment: str | None) -> Permits:
    """What people have said, here or everywhere, that still counts or waits for somebody."""
    names = sorted(fleet.passes) if environment is None else [place(fleet, environment, None).name]
    found, now = [fleet.core.store.permits(name) for name in names], fleet.core.clock.now()
    return Permits(
        holds=tuple(one for permits in found for one in permits.holds),
        approvals=tuple(one for permits in found for one in permits.approvals if now < one.until),
        overrides=tuple(one for permits in found for one in permits.overrides),
        adoptions=tuple(one for permits in found for one in permits.adoptions),
    )


def questions(permits: Permits) -> list[str]:
    """A sentence for every override that waits for a second person."""
    return [
        f"{_where(one.environment, one.service)}: {one.by} overrode the gate {one.gate} ({one.reason}); "
        f"a second person confirms it with `ugs override confirm {one.id}`"
        for one in permits.overrides
        if one.confirmed_by is None
    ]


def _check_approvable(
    core: Core, change: Change, asked: Asked, now: Environment, actor: str, *, guarded: bool
) -> None:
    """Raise Conflict where no approval is needed, by the environment as it is and as it was before the push, or
    none of this person's counts. `guarded`: the gate is closed, whatever both of them say."""
    places = [now, *(then.environment for then in asked.earlier)]
    kind = said.approval_class(change, zero_minor=now.policy.zero_minor)
    if not guarded and not any(
        approvals_needed(each, kind, floor=core.settings.floor_approvals) for each in places
    ):
        raise Conflict(
            f"{now.name}: {kind} changes need no approval",
            f"say `ugs explain {now.name} {change.service}` for what it waits for",
        )
    if any(each.policy.four_eyes for each in places) and wrote(actor, asked.authors or ()):
        raise Conflict(
            f"{actor} wrote {asked.revision[:12]}, which asks for this change", "somebody else approves it"
        )


def _planned(core: Core, here: EnvironmentPass, service: str) -> tuple[Change, tuple[Gate, ...]]:
    """The change that waits for somebody, and its gates. Raises Conflict where there is none, or not yet."""
    work = core.desired[here.name].workloads.get(service)
    change, gates = here.told.get(service, (None, ()))
    if service in here.busy:
        raise Conflict(f"{here.name}: the change of {service} is under way", "nothing is left to approve")
    if change is None or not gates:
        raise Conflict(f"{here.name}: nothing is planned for {service}", "see `ugs plan`")
    if change.blocked:
        raise Conflict(f"{here.name}: {change.blocked}", change.unblocked_by)
    if change.to != (work.target if work else None):
        now = f"{work.target.version} of {service} was" if work else f"{service} is no longer"
        raise Conflict(
            f"{here.name}: {now} pinned this very moment",
            "look at `ugs plan`, and say it again",
        )
    return change, gates


def place(fleet: Fleet, environment: str, service: str | None) -> EnvironmentPass:
    here = fleet.passes.get(environment)
    if here is None or environment not in fleet.core.desired:
        known = ", ".join(fleet.core.desired) or "none"
        raise Conflict(f"there is no environment {environment[:70]}", f"the repository has {known}")
    services = here.views()
    if service is not None and service not in services:
        known = ", ".join(services) or "none"
        raise Conflict(f"{environment} has no service {service[:70]}", f"it has {known}")
    return here


def reason_of(text: str) -> str:
    """The reason on one line. Raises UgsError where there is none, or a page of it."""
    reason = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    if not reason:
        raise UgsError("a reason is needed", "say why: everybody who waits is told")
    if len(reason) > REASON_CHARS_MAX:
        raise UgsError(f"a reason is at most {REASON_CHARS_MAX} characters long", "say it in a sentence")
    return reason


def end_of(core: Core, until: str | None, lasting: str | None) -> datetime | None:
    try:
        return expiry(until, lasting, now=core.clock.now())
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        raise UgsError(message, remedy) from error


def room(here: EnvironmentPass, number: int, kind: str, verb: str) -> None:
    if number >= IN_FORCE_MAX:
        raise Conflict(f"{here.name} has {number} {kind}, and may have no more", f"say `{verb}` first")


def tell(core: Core, environment: str, service: str | None, text: str, severity: Severity) -> None:
    where = _where(environment, service)
    core.store.tell(
        Notice(
            environment=environment,
            service=service or "",
            sentence=f"{where} {text}",
            severity=severity,
            at=core.clock.now(),
            title=where,
        )
    )
    core.wake.notices.set()


def _where(environment: str, service: str | None) -> str:
    return f"{environment}: {service}" if service else environment


def _zone(core: Core, environment: str) -> str:
    return said.zone_of(core.desired[environment].environment)


def wake(fleet: Fleet, environment: str) -> None:
    if here := fleet.passes.get(environment):
        here.wake.set()
