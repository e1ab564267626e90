"""What is known, as plain values for `--json` and the API. Keys are added, never renamed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from reconciler.engine.attention import needs_person
from reconciler.engine.fleet import Fleet
from reconciler.engine.people import Conflict
from reconciler.engine.pull_requests.keeper import proposed
from reconciler.engine.pull_requests.promotions import promotion_of
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.engine.share import told
from reconciler.engine.view import ServiceView
from reconciler.model.circumstances import Gate
from reconciler.model.codec import builtins
from reconciler.model.data import pending
from reconciler.model.errors import Problem
from reconciler.model.flags import switched
from reconciler.model.gates import GATES, closed, starts_at
from reconciler.model.itinerary import Step, first_start, itinerary
from reconciler.model.plan import Change
from reconciler.model.version import Version

Json = dict[str, Any]


def status_of(fleet: Fleet, about: Json, *, environment: str | None = None) -> Json:
    """Every environment, or the one that is named."""
    # One that is gone, and of which nothing is left, is shown no more.
    chosen = {name: here for name, here in fleet.passes.items() if name in fleet.core.desired or here.busy}
    if environment is not None:
        chosen = {environment: _pass(fleet, environment)}
    return {
        "as_of": builtins(fleet.core.clock.now()),
        "fetched_at": builtins(fleet.core.desired.fetched_at),
        "daemon": about | {"state": fleet.state, "sentence": fleet.sentence},
        "needs_person": needs_person(fleet),
        "errors": [problem_of(problem) for problem in fleet.problems],
        "environments": [_environment(fleet, here) for _, here in sorted(chosen.items())],
    }


def version_of(fleet: Fleet) -> object:
    """Something that equals another of its kind as long as the status stays the same, but for the time of day."""
    core = fleet.core
    passes = tuple(
        (
            name,
            here.observed,
            here.told,
            here.busy,
            dict(here.monitor.states()),
            dict(here.drifts.found),
            core.desired.get(name),
            core.leases.opening(name),
            told(core, name),
            here.trouble,
            dict(here.broken),
        )
        for name, here in fleet.passes.items()
    )
    store = core.store.changes, core.store.refused
    repository = fleet.core.desired.fetched_at, fleet.state, fleet.sentence, fleet.problems
    return repository, store, core.leases.refusals(), passes


def explain_of(fleet: Fleet, environment: str, service: str) -> Json:
    """Why a service is not yet where its pin says, and the way there."""
    here = _pass(fleet, environment)
    views = here.views()
    if service not in views:
        raise Conflict(f"{environment} has no service {service}", f"it has {', '.join(views) or 'none'}")
    steps = _steps(here, service)
    change, _ = here.told.get(service, (None, ()))
    answer: Json = views[service].explain() | data_of(here, change) | flags_of(change)
    return answer | {
        "starts_at": builtins(steps[0].starts_at if steps else _stops_at(here, service)),
        "steps": [_step(step) for step in steps],
        "promotion": promotion_of(fleet, environment, service),
        "proposed": proposed(here.core, environment, service),
    }


def _steps(here: EnvironmentPass, service: str) -> tuple[Step, ...]:
    """The way to go of a change that waits: what is known now of each step's start and length."""
    if service not in here.told or service in here.busy or here.decided is None:
        return ()
    (desired, around), (change, _) = here.decided, here.told[service]
    return itinerary(
        change,
        desired.releases.get(service, {}),
        replace(around, busy=here.busy),
        now=here.core.clock.now(),
        first=GATES,
        past_s=here.core.store.durations(here.name, service),
    )


def _stops_at(here: EnvironmentPass, service: str) -> datetime | None:
    """When a removal that waits may begin; None where that is not known, or it is none."""
    if service not in here.told or service in here.busy or here.decided is None:
        return None
    (_, around), (change, _) = here.decided, here.told[service]
    if change.goal is not None:
        return None
    return first_start(change, replace(around, busy=here.busy), GATES, now=here.core.clock.now())[0]


def _step(step: Step) -> Json:
    return {
        "version": step.release.version.text,
        "class": step.change_class,
        "opens_at": builtins(step.opens_at),
        "closes_at": builtins(step.closes_at),
        "starts_at": builtins(step.starts_at),
        "unknown": step.unknown or None,
        "duration_s": step.expected_s,
    }


def plan_of(fleet: Fleet) -> Json:
    """What would change now, against what really runs; `flags`: live ones whose switch waits."""
    now = fleet.core.clock.now()
    return {
        "from_revision": None,
        "to_revision": fleet.tip,
        "changes": [
            _change(here, change, gates, now)
            for _, here in sorted(fleet.passes.items())
            for _, (change, gates) in sorted(here.told.items())
        ],
        "flags": [
            {
                "environment": name,
                "flag": flag,
                "from": found.standing.said(),
                "to": found.pending.said(),
                "gates": builtins(found.waits),
            }
            for name, book in sorted(fleet.core.flags.items())
            for flag, found in sorted(book.items())
            if found.pending
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


def recover_of(fleet: Fleet) -> Json:
    """What is in safe mode, what is known of it, and what accepting that would do."""
    return {
        "environments": [
            {
                "environment": name,
                "reason": recovery.reason,
                "since": builtins(recovery.since),
                "base": recovery.base,
                "services": _recovering(fleet.passes[name]) if name in fleet.passes else [],
            }
            for name, recovery in sorted(fleet.core.store.recoveries().items())
        ]
    }


def _recovering(here: EnvironmentPass) -> list[Json]:
    store, views = here.core.store, here.views()
    shut = store.quarantined(here.name)
    return [
        {
            "service": service,
            "pinned": str(view.pinned) if view.pinned else None,
            "running": str(view.running) if view.running else None,
            "last_good": str(good[0][0].target)
            if (good := store.good(here.name, service, limit=1))
            else None,
            "quarantined": [str(row.target) for row in shut if row.service == service],
            "on_accept": _on_accept(here, service, view),
        }
        for service, view in sorted(views.items())
    ]


def _on_accept(here: EnvironmentPass, service: str, view: ServiceView) -> str:
    """What would come of one service once safe mode is over."""
    if service not in here.told:
        return "nothing changes" if view.running else "is started again, where it is last-good"
    change, gates = here.told[service]
    waits = [gate.gate for gate in closed(gates) if gate.gate != "recovery"]
    done = (
        f"{change.goal.target.version} is deployed" if change.goal else "is stopped: it is pinned no longer"
    )
    return f"waits: {', '.join(waits)}" if waits else done


def problem_of(problem: Problem) -> Json:
    """As `ugs check --json` prints it."""
    place: Json = builtins(problem.place)
    return place | {"path": problem.path, "message": problem.message, "remedy": problem.remedy}


def _environment(fleet: Fleet, here: EnvironmentPass) -> Json:
    desired = fleet.core.desired.get(here.name)
    lease = fleet.core.leases.opening(here.name)
    return {
        "environment": here.name,
        "revision": desired.revision if desired else fleet.tip,
        "safe_mode": recovery.reason if (recovery := fleet.core.store.recovery(here.name)) else None,
        "lease": {
            "held": lease.open,
            "epoch": fleet.core.leases.epoch(here.name) or None,
            "sentence": lease.reason,
        },
        "hosts": {
            "name": fleet.core.host if fleet.core.hosted(here.name) else None,
            "sentence": told(fleet.core, here.name),
        },
        "services": here.statuses(),
    }


def _change(here: EnvironmentPass, change: Change, gates: tuple[Gate, ...], now: datetime) -> Json:
    return (
        {
            "change": f"{here.name}/{change.service}",
            "environment": here.name,
            "service": change.service,
            "from": str(change.running) if change.running else None,
            "to": str(change.to) if change.to else None,
            "class": change.change_class,
            "revision": _asked_by(here, change),
            "path": list(change.path),
            "gates": builtins(gates),
            "starts_at": builtins(starts_at(gates, now=now)),
            "duration_s": None,
        }
        | data_of(here, change)
        | flags_of(change)
    )


def _asked_by(here: EnvironmentPass, change: Change) -> str | None:
    """The commit that asked for it."""
    asked = here.decided[1].asked.get(change.service) if here.decided else None
    return asked.revision if asked else None


def flags_of(change: Change | None) -> Json:
    """The flags that what is pinned has otherwise than last-good."""
    if change is None or change.before is None or change.goal is None:
        return {"flags": []}
    return {"flags": builtins(switched(change.before.flags, change.goal.flags))}


def data_of(here: EnvironmentPass, change: Change | None) -> Json:
    """What would be done with the service's data on the whole way to what is pinned."""
    if change is None:
        return {"backup": False, "migrations": []}
    known = here.core.desired[here.name].releases.get(change.service, {})
    way = [known[version] for text in change.path if (version := Version(text)) in known]
    rows = here.core.store.migrations(here.name, change.service)
    applied = {row.id for row in rows if row.state == "done"}
    return {
        "backup": change.before is not None and any(release.backup for release in way),
        "migrations": builtins(pending(way, applied)),
    }


def _pass(fleet: Fleet, environment: str) -> EnvironmentPass:
    if environment not in fleet.passes:
        known = ", ".join(fleet.passes) or "none"
        raise Conflict(f"there is no environment {environment}", f"the repository has {known}")
    return fleet.passes[environment]
