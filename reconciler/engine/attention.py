"""What does not go on until a person acts."""

from __future__ import annotations

from reconciler.engine.fleet import Fleet
from reconciler.engine.permits import questions
from reconciler.model.gates import closed
from reconciler.model.sentence import of_change, of_drift
from reconciler.model.upgrade import Phase


def needs_person(fleet: Fleet) -> list[str]:
    """A sentence for everything that does not go on until someone acts."""
    core = fleet.core
    stopped = [fleet.sentence] if fleet.needs_person else []
    if core.store.refused:
        stopped.append(f"the database cannot be written: {core.store.refused}")
    lost = [
        f"{name or 'everywhere'}: safe mode: {recovery.reason}; see `ugs recover`"
        for name, recovery in core.store.recoveries().items()
    ]
    quarantined = [
        f"{name}: {row.service} {row.target.version} failed and is still pinned"
        for name, desired in sorted(core.desired.items())
        for row in core.store.quarantined(name)
        if (work := desired.workloads.get(row.service)) and work.target == row.target
    ]
    engines = [f"{here.name}: {here.trouble}" for here in fleet.passes.values() if here.trouble]
    parked = [
        f"{upgrade.environment}: {upgrade.service}: {upgrade.reason}"
        for upgrade in core.store.upgrades(unfinished=True)
        if upgrade.phase is Phase.WAITING and upgrade.parked_until
    ]
    undelivered = [
        f"notices are not delivered to {outbox.channel}: {mail}"
        for outbox in core.outboxes
        if (mail := core.store.trouble(outbox.channel))
    ]
    broken = [
        f"{name}: {service}: a bug stopped operation {operation}; look at the log, and start the daemon again"
        for name, here in sorted(fleet.passes.items())
        for service, operation in sorted(here.broken.items())
    ]
    unknown = [
        f"{row.environment}: {row.service}: nobody knows whether migration {row.id} is applied; look at the data, then "
        f"say `ugs migrations settle`"
        for row in core.store.migrations()
        if row.state == "unknown"
    ]
    asked = [text for name in sorted(fleet.passes) for text in questions(core.store.permits(name))]
    problems = [*map(str, fleet.problems), *_withdrawn(fleet)]
    return [
        *stopped,
        *core.leases.refusals(),
        *lost,
        *unknown,
        *problems,
        *quarantined,
        *broken,
        *engines,
        *parked,
        *_unapproved(fleet),
        *_drifted(fleet),
        *_needed(fleet),
        *asked,
        *undelivered,
        *(f"{what}: {why}" for what, why in core.troubles.items() if why),
    ]


def _unapproved(fleet: Fleet) -> list[str]:
    """Removals that wait for a person's word."""
    return [
        f"{of_change(change, tuple(said))}; to let it go, say `{said[0].opened_by}`"
        for _, here in sorted(fleet.passes.items())
        for change, gates in here.told.values()
        if change.after is None and (said := [gate for gate in closed(gates) if gate.gate == "approval"])
    ]


def _drifted(fleet: Fleet) -> list[str]:
    """What was changed by hand, and is only told."""
    return [
        of_drift(drift.work, drift.what, "report")
        for name, desired in sorted(fleet.core.desired.items())
        if desired.environment.policy.drift == "report" and (here := fleet.passes.get(name))
        for drift in here.drifts.found.values()
    ]


def _needed(fleet: Fleet) -> list[str]:
    """Flags that only a release declares which runs on, with nothing under way or waiting to replace it."""
    return [
        f"{name}: flag {flag} is still needed by {', '.join(found.needed_by)}, and nothing that is pinned there "
        "declares it"
        for name, here in sorted(fleet.passes.items())
        for flag, found in sorted(fleet.core.flags.get(name, {}).items())
        if found.needed_by
        and found.standing.live
        and not {*found.standing.services} & (here.told.keys() | here.busy)
    ]


def _withdrawn(fleet: Fleet) -> list[str]:
    """Releases that were withdrawn and run all the same."""
    return [
        f"{name}: {work.service} {work.target.version} runs as pinned, and is withdrawn: {withdrawn.reason}"
        for name, desired in sorted(fleet.core.desired.items())
        for _, work in sorted(desired.workloads.items())
        if (withdrawn := work.release.withdrawn)
        and (here := fleet.passes.get(name))
        and here.observed_target(work.service) == work.target
    ]
