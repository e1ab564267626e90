"""What is known, as plain values for `--json` and the API. Keys are added, never renamed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from reconciler.engine.fleet import Fleet
from reconciler.engine.people import Conflict
from reconciler.engine.permits import questions
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.model.circumstances import Gate
from reconciler.model.codec import builtins
from reconciler.model.errors import Problem
from reconciler.model.gates import closed, starts_at
from reconciler.model.plan import Change
from reconciler.model.sentence import of_change
from reconciler.model.upgrade import Phase
from reconciler.store import SLACK

Json = dict[str, Any]


def status_of(fleet: Fleet, about: Json, *, environment: str | None = None) -> Json:
    """Every environment, or the one that is named."""
    # One that is gone, and of which nothing is left, is shown no more.
    chosen = {name: here for name, here in fleet.passes.items() if name in fleet.core.desired or here.busy}
    if environment is not None:
        chosen = {environment: _pass(fleet, environment)}
    return {
        "as_of": builtins(fleet.core.clock.now()),
        "fetched_at": builtins(fleet.fetched_at),
        "daemon": about | {"state": fleet.state, "sentence": fleet.sentence},
        "needs_person": needs_person(fleet),
        "errors": [problem_of(problem) for problem in fleet.problems],
        "environments": [_environment(fleet, here) for _, here in sorted(chosen.items())],
    }


def needs_person(fleet: Fleet) -> list[str]:
    """A sentence for everything that does not go on until someone acts."""
    core = fleet.core
    stopped = [fleet.sentence] if fleet.needs_person else []
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
    mail = core.store.trouble(SLACK)
    undelivered = [f"notices are not delivered: {mail}"] if mail else []
    broken = [
        f"{name}: {service}: a bug stopped operation {operation}; look at the log, and start the daemon again"
        for name, here in sorted(fleet.passes.items())
        for service, operation in sorted(here.broken.items())
    ]
    asked = [text for name in sorted(fleet.passes) for text in questions(core.store.permits(name))]
    problems = [*map(str, fleet.problems), *_withdrawn(fleet)]
    leaving = _unapproved(fleet)
    return [*stopped, *problems, *quarantined, *broken, *engines, *parked, *leaving, *asked, *undelivered]


def _unapproved(fleet: Fleet) -> list[str]:
    """Removals that wait for a person's word."""
    return [
        f"{of_change(change, tuple(said))}; to let it go, say `{said[0].opened_by}`"
        for _, here in sorted(fleet.passes.items())
        for change, gates in here.told.values()
        if change.after is None and (said := [gate for gate in closed(gates) if gate.gate == "approval"])
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


def explain_of(fleet: Fleet, environment: str, service: str) -> Json:
    """Why a service is not yet where its pin says."""
    here = _pass(fleet, environment)
    views = here.views()
    if service not in views:
        raise Conflict(f"{environment} has no service {service}", f"it has {', '.join(views) or 'none'}")
    answer: Json = views[service].explain()
    return answer


def plan_of(fleet: Fleet) -> Json:
    """What would change now, against what really runs."""
    now = fleet.core.clock.now()
    return {
        "from_revision": None,
        "to_revision": fleet.tip,
        "changes": [
            _change(here, change, gates, now)
            for _, here in sorted(fleet.passes.items())
            for _, (change, gates) in sorted(here.told.items())
        ],
    }


def quarantine_of(fleet: Fleet) -> Json:
    """Everything that failed and is not released."""
    rows = [row for name in sorted(fleet.passes) for row in fleet.core.store.quarantined(name)]
    return {
        "quarantine": [
            builtins(row)
            | {"target": str(row.target), "restored": str(row.restored) if row.restored else None}
            for row in rows
        ],
    }


def problem_of(problem: Problem) -> Json:
    """As `ugs check --json` prints it."""
    place: Json = builtins(problem.place)
    return place | {"path": problem.path, "message": problem.message, "remedy": problem.remedy}


def _environment(fleet: Fleet, here: EnvironmentPass) -> Json:
    return {
        "environment": here.name,
        "revision": fleet.tip,
        "services": [view.status() for view in here.views().values()],
    }


def _change(here: EnvironmentPass, change: Change, gates: tuple[Gate, ...], now: datetime) -> Json:
    return {
        "change": f"{here.name}/{change.service}",
        "environment": here.name,
        "service": change.service,
        "from": str(change.running) if change.running else None,
        "to": str(change.to) if change.to else None,
        "class": change.change_class,
        "path": list(change.path),
        "gates": builtins(gates),
        "starts_at": builtins(starts_at(gates, now=now)),
        "duration_s": None,
    }


def _pass(fleet: Fleet, environment: str) -> EnvironmentPass:
    if environment not in fleet.passes:
        known = ", ".join(fleet.passes) or "none"
        raise Conflict(f"there is no environment {environment}", f"the repository has {known}")
    return fleet.passes[environment]
