"""The routes about what is to run: plans, and what a person may ask for."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from reconciler.api.answer import Answer
from reconciler.api.endpoint import BadRequest, Endpoint, Service
from reconciler.api.entry import check
from reconciler.api.shapes import (
    CommitShape,
    OperationShape,
    PlanShape,
    RevisionShape,
)
from reconciler.api.status import sees_row
from reconciler.engine import checkup, people, start
from reconciler.engine.between import plan_between
from reconciler.engine.daemon import Daemon
from reconciler.engine.status import plan_of
from reconciler.model.rights import EVERYTHING, Caller, Place, may

Json = dict[str, Any]
Sha = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}$")]


class Sync(Struct, frozen=True, forbid_unknown_fields=True):
    accept_rewrite: bool = False


class AskedPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """Of `environment` and `service` alone, where they are said. `from` (by default what is in force) and `to`:
    commits; `branch`: the tip of another branch of the remote, such as a pull request's."""

    environment: str | None = None
    service: str | None = None
    from_: Sha | None = field(default=None, name="from")
    to: Sha | None = None
    branch: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class GateToPass(Struct, frozen=True, forbid_unknown_fields=True):
    """One gate to pass by, until then or for so long (`1h`). It takes the role admin, and a reason."""

    gate: str
    until: str | None = None
    for_: str | None = field(default=None, name="for")


class WantedStart(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    service: str
    reason: str = ""
    override: GateToPass | None = None


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    service: str | None = None


class Verified(Struct, frozen=True):
    environment: str
    services: list[checkup.ServiceSaid]


class WantedRollback(Struct, frozen=True, forbid_unknown_fields=True):
    """`to`: the version that is expected to be restored; where it would be another, nothing is done."""

    environment: str
    service: str
    reason: str = ""
    to: str | None = None


class Started202(Struct, frozen=True):
    """`operation` and `phase`: null where the next pass has yet to begin it."""

    operation: str | None
    environment: str
    service: str
    phase: str | None
    sentence: str


async def _plan(daemon: Daemon, asked: AskedPlan, caller: Caller) -> object:
    between = (asked.from_, asked.to, asked.branch) != (None, None, None)
    if asked.branch is not None and asked.to is not None:
        raise BadRequest("`branch` and `to` are both said", "say one of them")
    plan = await plan_between(daemon.fleet, asked.from_, asked.to, asked.branch) if between else None
    plan = plan_of(daemon.fleet) | {"basis": None} if plan is None else _seen_between(plan, caller)
    return plan | {
        "changes": [
            one
            for one in plan["changes"]
            if sees_row(caller, one)
            and asked.environment in (None, one["environment"])
            and asked.service in (None, one["service"])
        ],
        "flags": [
            one
            for one in plan["flags"]
            if may(caller, "see", Place(one["environment"]))
            and asked.environment in (None, one["environment"])
        ],
    }


def _seen_between(plan: Json, caller: Caller) -> Json:
    """Without what the caller may not see."""
    if may(caller, "see", EVERYTHING):
        return plan
    return plan | {
        "added": [one for one in plan["added"] if sees_row(caller, one)],
        "removed": [one for one in plan["removed"] if sees_row(caller, one)],
        "settings": [one for one in plan["settings"] if may(caller, "see", Place(one["environment"]))],
        "errors": [],  # of files, which may be about anything
    }


async def _execute(daemon: Daemon, wanted: WantedStart, caller: Caller) -> object:
    passing = wanted.override
    if passing is not None:
        check(daemon, "administer", Place(wanted.environment, wanted.service), caller)
    started = await start.execute(
        daemon.fleet,
        wanted.environment,
        wanted.service,
        actor=caller.name,
        reason=wanted.reason,
        passing=start.WantedOverride(passing.gate, passing.until, passing.for_) if passing else None,
    )
    return Answer(started, 202)


async def _verify(daemon: Daemon, asked: Asked, caller: Caller) -> object:
    here = daemon.fleet.passes[asked.environment]
    services = [
        name
        for name in here.views()
        if asked.service in (None, name) and may(caller, "operate", Place(asked.environment, name))
    ]
    if asked.service is not None and not services:
        raise people.Conflict(
            f"{asked.environment} has no service {asked.service[:100]}", "see /upgrade/status"
        )
    said = await checkup.checkup(daemon.fleet, asked.environment, services, actor=caller.name)
    return Verified(asked.environment, said)


async def _rollback(daemon: Daemon, wanted: WantedRollback, caller: Caller) -> object:
    operation = await people.rollback(
        daemon.fleet,
        wanted.environment,
        wanted.service,
        actor=caller.name,
        reason=wanted.reason,
        to=wanted.to,
    )
    return {"operation": operation}


async def _retry(daemon: Daemon, wanted: Service, caller: Caller) -> object:
    return {"commit": await people.retry(daemon.fleet, wanted.environment, wanted.service, actor=caller.name)}


async def _sync(daemon: Daemon, wanted: Sync, _caller: Caller) -> object:
    return {"revision": await daemon.fleet.refresh(accept_rewrite=wanted.accept_rewrite)}


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "POST",
        "/upgrade/plan",
        "What would change now, or between two revisions.",
        "see",
        AskedPlan,
        _plan,
        part=True,
        answers=PlanShape,
        later="/upgrade/plan",
    ),
    Endpoint(
        "POST",
        "/upgrade/execute",
        "Start now what the gates allow.",
        "operate",
        WantedStart,
        _execute,
        answers=Started202,
        status=202,
    ),
    Endpoint(
        "POST",
        "/upgrade/verify",
        "Run the probes of what runs.",
        "operate",
        Asked,
        _verify,
        part=True,
        answers=Verified,
        later="/upgrade/status",
    ),
    Endpoint(
        "POST",
        "/upgrade/rollback",
        "Restore what ran before, and revert the pin.",
        "operate",
        WantedRollback,
        _rollback,
        answers=OperationShape,
    ),
    Endpoint(
        "POST",
        "/upgrade/retry",
        "Commit a quarantined pin again.",
        "operate",
        Service,
        _retry,
        answers=CommitShape,
    ),
    Endpoint("POST", "/sync", "Fetch now.", "operate", Sync, _sync, part=True, answers=RevisionShape),
)
