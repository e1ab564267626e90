"""Taking back what came together: decided once and durably, then carried out by each upgrade's own task.

The failed upgrade leads: its row names its companions before anything is done, each of them is restored in its turn,
and the one commit that it makes puts all their pins back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from reconciler.engine.control import Control
from reconciler.engine.core import Core
from reconciler.engine.group import UNDER_WAY, Group, from_journal, gather, original
from reconciler.model.errors import UgsError
from reconciler.model.hosts import rollout_id
from reconciler.model.target import Target, Workload
from reconciler.model.together import needs
from reconciler.model.upgrade import NOT_BEGUN, Companion, Phase, Upgrade, operation_id

log = logging.getLogger("ugs")
TURN_MAX_S = 120.0
POLL_S = 0.05


async def condemn(core: Core, upgrade: Upgrade, control: Control, reason: str, *, to: Phase) -> Upgrade:
    """A verdict of failure: the target is quarantined, before anything is restored, and all goes back with it.

    What goes back already with another has its own verdict recorded, and goes back no differently.
    """
    try:
        group = await gather(core, upgrade)
    except UgsError as error:
        # The failed version goes back at once, with what the journal alone knows of.
        log.warning("%s: who goes back with it could not be seen: %s", upgrade.operation, error)
        group = from_journal(core, upgrade)
    if control.taken_with:
        joined = _joining(core, upgrade, control.taken_with)
        return core.move(upgrade, to, reason, severity="warning", quarantine=reason, failed=True, **joined)
    condemned = decide(core, upgrade, group, reason, to=to)
    if not control.stopping:  # the next daemon finds them by their rows
        control.take_back(condemned)
    return condemned


def decide(
    core: Core, upgrade: Upgrade, group: Group, reason: str, *, to: Phase, actor: str = "ugs"
) -> Upgrade:
    """Record the verdict and who goes back with it, in one transaction."""
    opened: list[Upgrade] = []
    stays = "; ".join(
        f"{name} stays as it is: {', '.join(way.values())}" for name, way in sorted(group.found.stays.items())
    )
    with core.store.transaction():
        operations = {name: row.operation for name, row in group.leaving.items()}
        for name in group.found.goes:
            row = _taken(core, upgrade, group, name)
            operations[name] = row.operation if row else ""
            if row and core.store.upgrade(row.operation) is None:
                opened.append(row)
        after = {
            name: tuple(operations[other] for other in sorted(first))
            for name, first in group.found.after.items()
        }
        condemned = core.move(
            upgrade,
            to,
            "; ".join(filter(None, (reason, stays))),
            severity="person" if stays else "warning",
            actor=actor,
            quarantine=reason,
            failed=True,
            parked_until=None,
            companions=tuple(
                _companion(group, name, operations[name], after.get(name, ())) for name in group.found.goes
            ),
            restore_after=after.get(upgrade.service, ()),
        )
        for row in opened:
            companion = next(one for one in condemned.companions if one.operation == row.operation)
            core.move(
                row,
                Phase.RESTORING,
                _why(companion.why, upgrade.operation),
                actor=actor,
                taken_with=upgrade.operation,
                restore_after=companion.after,
            )
    if condemned.companions:
        core.failpoint("together:decided")
    return condemned


def leader_of(core: Core, upgrade: Upgrade) -> str:
    """The failed operation with which an upgrade has to go back, and does not know it yet; empty for none."""
    if upgrade.taken_with or upgrade.phase not in UNDER_WAY:
        return ""
    rows = core.store.upgrades_of(upgrade.environment, upgrade.revision)
    found = (row.operation for row in rows for one in row.companions if one.operation == upgrade.operation)
    return next(found, "")


def go_back(core: Core, upgrade: Upgrade, control: Control) -> Upgrade:
    """What is under way has to go back with another: what touched nothing yet just ends."""
    joined = _joining(core, upgrade, control.taken_with)
    why = _why(_companion_of(core, upgrade, control.taken_with).why, control.taken_with)
    if upgrade.phase is Phase.PREPARING and joined["before"] == upgrade.before:
        return core.move(upgrade, Phase.CANCELLED, why)
    return core.move(upgrade, Phase.RESTORING, why, severity="warning", **joined)


async def turn(core: Core, upgrade: Upgrade, control: Control) -> None:
    """Wait until those have been restored that come before this one."""
    await _back(core, upgrade, upgrade.restore_after, control)


async def all_back(core: Core, upgrade: Upgrade, control: Control) -> None:
    """Wait until all that goes back together has been restored: only then can any of it prove itself."""
    leader = core.store.upgrade(upgrade.taken_with) if upgrade.taken_with else upgrade
    if leader is None:
        return
    group = {leader.operation, *(one.operation for one in leader.companions)} - {"", upgrade.operation}
    await _back(core, upgrade, sorted(group), control)


def settled(core: Core, upgrade: Upgrade) -> Upgrade:
    """The end of one that went back with another, as soon as that one has settled the pins; until then, itself."""
    leader = core.store.upgrade(upgrade.taken_with)
    if leader is None or not leader.final:
        return upgrade
    left = _companion_of(core, upgrade, leader.operation).outcome
    final = Phase.RESTORED if left else Phase.REVERTED
    with core.store.transaction():
        if upgrade.failed and not left and leader.revert_commit:
            core.store.reverted(upgrade.operation, leader.revert_commit)
        return core.move(
            upgrade,
            Phase.STUCK if upgrade.needs_person else final,
            "; ".join(filter(None, (upgrade.reason, left))),
            severity="person" if upgrade.needs_person else "warning",
            revert_commit=None if left else leader.revert_commit,
        )


def settle_companions(core: Core, leader: Upgrade) -> None:
    """The pins are settled: end those that wait for nothing else. The others end themselves."""
    for companion in leader.companions:
        row = core.store.upgrade(companion.operation) if companion.operation else None
        if row and row.phase is Phase.REVERTING and row.taken_with == leader.operation:
            settled(core, row)


def taken_back(core: Core, environment: str) -> dict[str, str]:
    """By service that goes back with a failed upgrade at this moment: with which, and why."""
    return {
        one.service: _why(one.why, row.operation)
        for row in core.store.upgrades(environment=environment, unfinished=True)
        for one in row.companions
    }


def standing(
    core: Core,
    bad: Workload,
    back: Workload | None,
    revision: str,
    *,
    running: Target | None,
    goal: Workload | None = None,
    actor: str = "ugs",
) -> Upgrade:
    """An upgrade that stands for what runs now, about to be taken back to what ran before it."""
    now, old = core.clock.now(), back.target if back else None
    names = bad.environment, bad.service, old, bad.target, revision
    attempt = 1 + core.store.attempts(*names)
    return Upgrade(
        operation=operation_id(*names, attempt),
        environment=bad.environment,
        service=bad.service,
        change_class="rollback",
        revision=revision,
        attempt=attempt,
        phase=Phase.VERIFYING,
        before=back,
        after=bad,
        running=running,
        created_at=now,
        changed_at=now,
        started_at=now,
        actor=actor,
        goal=goal,
        rollout=rollout_id(bad.environment, bad.service, (goal or bad).target, revision)
        if core.hosted(bad.environment)
        else "",
    )


def _taken(core: Core, upgrade: Upgrade, group: Group, service: str) -> Upgrade | None:
    """The upgrade by which a service goes back: its own, now ended where nothing had begun, or a new one."""
    part, rows = group.parts[service], group.rows.get(service, [])
    row = rows[0] if rows and not rows[0].final else None
    if row and row.phase in NOT_BEGUN:
        row = core.move(row, Phase.CANCELLED, _why(group.found.goes[service], upgrade.operation))
    if part.now is None:
        return row
    for past in rows:
        if past.phase is Phase.SUCCEEDED and past.to:
            core.store.forget_good(upgrade.environment, service, past.to)
    if row and row.phase in UNDER_WAY:
        return row
    goal = part.pinned if part.pinned and part.pinned.target != part.now.target else None
    return standing(
        core, part.now, part.before, upgrade.revision, running=part.now.target, goal=goal, actor=upgrade.actor
    )


def _companion(group: Group, service: str, operation: str, after: tuple[str, ...]) -> Companion:
    part = group.parts[service]
    pinned = part.pinned or part.now
    if pinned is None:
        raise RuntimeError(f"{service}: nothing of it is to be taken back")
    going = {name: group.parts[name].back for name in group.found.goes} | {
        group.failed.service: group.failed.back
    }
    return Companion(
        service=service,
        pinned=pinned.node,
        back=part.before.node if part.before else None,
        failed=pinned.target,
        restored=part.before.target if part.before else None,
        why=group.found.goes[service],
        operation=operation,
        after=after,
        needs={} if group.atomic else needs(part, going),
    )


def _companion_of(core: Core, upgrade: Upgrade, leader: str) -> Companion:
    """An upgrade as its leader's row names it."""
    row = core.store.upgrade(leader)
    found = (one for one in (row.companions if row else ()) if one.operation == upgrade.operation)
    companion = next(found, None)
    if companion is None:
        raise RuntimeError(f"{upgrade.operation}: operation {leader} does not take it back")
    return companion


def _joining(core: Core, upgrade: Upgrade, leader: str) -> dict[str, Any]:
    """What becomes of an upgrade's row when it goes back with another: all the way, not just the last step."""
    rows = core.store.upgrades_of(upgrade.environment, upgrade.revision)
    own = [row for row in rows if row.service == upgrade.service]
    return {
        "taken_with": leader,
        "restore_after": _companion_of(core, upgrade, leader).after,
        "before": original(own),
        "parked_until": None,
    }


async def _back(core: Core, upgrade: Upgrade, operations: Sequence[str], control: Control) -> None:
    """Wait until each of these runs as it did before, or cannot be made to; a while at most.

    An outage of all is not prolonged for the sake of one that does not come to an end.
    """
    end_s = core.clock.monotonic() + TURN_MAX_S
    while (late := [one for one in operations if not _is_back(core, one)]) and not control.stopping:
        left_s = end_s - core.clock.monotonic()
        if left_s <= 0:
            core.store.audit(
                "not-awaited",
                environment=upgrade.environment,
                service=upgrade.service,
                operation=upgrade.operation,
                detail=f"not restored after {TURN_MAX_S:.0f} s: {', '.join(late)}",
            )
            return
        control.wake.clear()
        await core.clock.wait(control.wake, min(POLL_S, left_s))


def _is_back(core: Core, operation: str) -> bool:
    row = core.store.upgrade(operation)
    if row is None or row.phase not in UNDER_WAY:
        return True
    # A step of that name may be left from before, when this machine's own trouble parked it.
    return row.phase is Phase.RESTORING and any(
        step.step == "restore" and step.outcome == "ok" and step.started_at >= row.changed_at
        for step in core.store.steps(operation)
    )


def _why(why: str, operation: str) -> str:
    return f"{why} (operation {operation})"
