"""This host's share of an environment that lists its hosts: what it says of rollouts, and what it does about them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.engine.together import standing
from reconciler.engine.upkeep import records_of
from reconciler.model import plan as planning
from reconciler.model.circumstances import Gate
from reconciler.model.desired import Desired
from reconciler.model.errors import UgsError
from reconciler.model.hosts import (
    FAILED,
    NAMED_MAX,
    OWN_GATES,
    STATES_TOLD,
    Report,
    Reports,
    Rollout,
    Rollouts,
    Wanted,
    bounded,
    rollout_id,
)
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.store import Quarantine

if TYPE_CHECKING:
    from reconciler.engine.reconcile import EnvironmentPass

log = logging.getLogger("ugs")
ROWS_MAX = 50
COMPANIONS_MAX = 50


def unlisted(core: Core, desired: Desired) -> str:
    """Why this machine has nothing to do with an environment; empty where it has."""
    hosts = desired.environment.hosts
    if not hosts or core.host in hosts:
        return ""
    named = f"{', '.join(hosts[:NAMED_MAX])}{', …' if len(hosts) > NAMED_MAX else ''}"
    remedy = "add it there, or leave this environment out of `environments` in ugs.yaml"
    return f"this machine, {core.host}, is not one of its hosts ({named}), and does nothing here; {remedy}"


def excluded(here: EnvironmentPass, desired: Desired) -> bool:
    """Whether a pass has nothing to look at, because this machine is none of the environment's: it says so, once."""
    stranger = unlisted(here.core, desired)
    if not stranger:
        return False
    if here.trouble != stranger:
        log.warning("%s: %s", here.name, stranger)
    here.trouble, here.observed, here.told = stranger, {}, {}
    return True


def reports_of(core: Core, environment: str, known: Rollouts) -> Reports:
    """What this host has to say of each rollout: worked out from what is on record, so that nothing is forgotten."""
    found = {service: _report(core, environment, one) for service, one in known.rollouts.items()}
    return Reports({service: report for service, report in sorted(found.items()) if report})


def told(core: Core, environment: str) -> str:
    """How the rollouts stand that have not reached every host, in one line."""
    known = core.rollouts.get(environment, Rollouts()).rollouts.values()
    return "; ".join(
        f"{one.service} {one.to.version} {STATES_TOLD[one.state]}{f': {one.reason}' if one.reason else ''}"
        for one in known
        if one.state != "succeeded"
    )


def leads(core: Core, upgrade: Upgrade) -> bool:
    """Whether this host's part of the rollout sees to the data of the whole environment."""
    rollout = core.rollouts.get(upgrade.environment, Rollouts()).rollouts.get(upgrade.service)
    return rollout is not None and (rollout.operation, rollout.first) == (upgrade.rollout, core.host)


def may_begin(gates: Iterable[Gate]) -> bool:
    """Whether everything is open that a rollout waits for as a whole."""
    return all(gate.open or gate.gate in OWN_GATES for gate in gates)


def heeds(here: EnvironmentPass, desired: Desired) -> bool:
    """Whether the last pass looked at the gates by what is in force, and known of the rollouts, at this moment: what
    failed elsewhere may be shut out since."""
    if here.heeded is None:
        return False
    asked, known = here.heeded
    return asked is desired and known == here.core.rollouts.get(here.name, Rollouts())


async def wanted_of(here: EnvironmentPass, desired: Desired) -> dict[str, Wanted]:
    """Every pin as the holder of the lease sees it."""
    core, found = here.core, dict[str, Wanted]()
    records, now = records_of(core, here.name, here.observed), core.clock.now()
    decided = heeds(here, desired) and not here.trouble
    told, engaged, shut = here.told, here.engaged, _shut(core, here.name)
    for service, work in desired.workloads.items():
        change, gates = told.get(service, (None, ()))
        asked_for = service not in engaged and (service, work.target) not in shut
        if change is None or change.goal is None or change.goal.target != work.target:
            change, gates = (
                planning.change_to(desired, work, here.observed.get(service), records, now=now),
                (),
            )
        asked = await here.weigher.asked(desired, change)
        good = [one.work for one in records.good.get(service, ()) if one.work.target != work.target]
        found[service] = Wanted(
            operation=rollout_id(here.name, service, work.target, asked.revision),
            service=service,
            revision=asked.revision,
            change_class=change.change_class,
            to=work.target,
            node=work.node,
            ready=decided and asked_for and may_begin(gates),
            data=bool(work.release.backup or work.release.migrations),
            last=(good[0].target, good[0].node) if good else None,
        )
    return found


def _shut(core: Core, environment: str) -> set[tuple[str, Target]]:
    """What failed on all hosts, by service, and no person has released since."""
    kept = {row.operation for row in core.store.quarantined(environment)}
    known = core.rollouts.get(environment, Rollouts()).shut
    return {(one.service, one.target) for one in known if one.operation in kept}


def follow(here: EnvironmentPass, desired: Desired) -> Rollouts:
    """What failed elsewhere is shut out here too; what is under way to it ends; what runs it goes back with the pin.

    Returns what is known of the rollouts."""
    core = here.core
    known = core.rollouts.get(here.name, Rollouts())
    for one in known.shut:
        if core.store.quarantine_of(one.operation) is None:
            core.store.recall_quarantine(
                Quarantine(
                    operation=one.operation,
                    environment=here.name,
                    service=one.service,
                    target=one.target,
                    restored=one.restored,
                    reason=one.reason,
                    quarantined_at=one.at,
                    revert_commit=None,
                )
            )
    for service, rollout in known.rollouts.items():
        if rollout.state not in FAILED:
            continue
        running = here.running.get(service)
        if running is not None:
            upgrade = core.store.upgrade(running.operation)
            if upgrade and upgrade.rollout == rollout.operation and not upgrade.failed:
                running.control.say(aborted=f"{rollout.to.version} failed {rollout.reason}")
            continue
        pinned = desired.workloads.get(service)
        moved_off = service not in desired.blind and (pinned is None or pinned.target != rollout.to)
        if moved_off and not desired.hidden and here.observed_target(service) == rollout.to:
            _go_back(here, rollout)
    return known


def _go_back(here: EnvironmentPass, rollout: Rollout) -> None:
    """As after a failure of its own, but blaming nobody: no gate is asked, and the old version proves itself."""
    core, name, service = here.core, here.name, rollout.service
    good = [work for work, _ in core.store.good(name, service)]
    bad = next((work for work in good if work.target == rollout.to), None)
    back = next((work for work in good if work.target == rollout.from_), None)
    if bad is None or (back is None and rollout.from_ is not None):
        return  # what it never ran is no way back: the pin that has gone back is a change like any other
    upgrade = standing(core, bad, back, rollout.revision, running=bad.target)
    with core.store.transaction():
        core.store.forget_good(name, service, bad.target)
        reason = f"{rollout.to.version} failed {rollout.reason}"
        row = core.move(upgrade, Phase.RESTORING, reason, aborted=True, rollout=rollout.operation)
    here.carrying.launch(row)


def _report(core: Core, environment: str, rollout: Rollout) -> Report | None:
    past = core.store.upgrades(environment=environment, service=rollout.service, limit=ROWS_MAX)
    rows = [row for row in past if row.rollout == rollout.operation]
    if failed := next((row for row in rows if row.failed and row.final and not row.suspect), None):
        return Report(
            rollout.operation,
            "failed",
            bounded(failed.reason),
            decisive=failed.actor != "ugs",
            companions=failed.companions[:COMPANIONS_MAX],
        )
    newest = rows[0] if rows else None
    if newest and newest.phase is Phase.STUCK:
        return Report(rollout.operation, "stuck", bounded(newest.reason))
    good = core.store.good(environment, rollout.service, limit=1)
    if good and good[0][0].target == rollout.to:
        return Report(rollout.operation, "succeeded")
    if newest and newest.phase is Phase.WAITING and newest.tries:
        return Report(rollout.operation, "parked", bounded(newest.reason))
    return None


def last_everywhere(core: Core, environment: str, service: str) -> frozenset[str]:
    """The target, as text, that stays everyone's last-good until a rollout has reached every host."""
    rollout = core.rollouts.get(environment, Rollouts()).rollouts.get(service)
    return frozenset({str(rollout.from_)} if rollout and rollout.from_ else ())


def as_upgrade(desired: Desired, rollout: Rollout) -> Upgrade:
    """The rollout as one upgrade of the whole environment, as far as the commit that takes it back tells of it.

    Raises UgsError where the repository has no release of the service any more.
    """
    known = desired.releases.get(rollout.service, {})
    release = known.get(rollout.to.version) or next(iter(known.values()), None)
    if release is None:
        raise UgsError(f"no release of {rollout.service} is left", "put the pin back yourself")
    after = Workload(
        environment=desired.environment.name,
        service=rollout.service,
        target=rollout.to,
        release=release,
        config={},
        instances=1,
        port=None,
        strategy="stop-start",
        place=release.place,
        node=rollout.to_node,
    )
    before = None
    if rollout.from_ and rollout.from_node:
        before = replace(after, target=rollout.from_, node=rollout.from_node)
    return Upgrade(
        operation=rollout.operation,
        environment=after.environment,
        service=after.service,
        change_class=rollout.change_class,
        revision=rollout.revision,
        attempt=1,
        phase=Phase.REVERTING,
        before=before,
        after=after,
        running=None,
        created_at=rollout.started_at,
        changed_at=rollout.started_at,
        started_at=rollout.started_at,
        reason=rollout.reason,
        failed=True,
        companions=rollout.companions,
    )
