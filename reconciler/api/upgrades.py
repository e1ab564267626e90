"""The routes about what runs and what is to run: status, plans, and what a person may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from reconciler import __version__
from reconciler.api.endpoint import Endpoint, Nothing, Service, Where
from reconciler.engine import people, recovery
from reconciler.engine.daemon import Daemon
from reconciler.engine.status import explain_of, plan_of, quarantine_of, recover_of, status_of
from reconciler.model.codec import builtins
from reconciler.model.rights import EVERYTHING, Caller, Place, may, sees_part_of

Json = dict[str, Any]


class Sync(Struct, frozen=True, forbid_unknown_fields=True):
    accept_rewrite: bool = False


class Reasoned(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    service: str
    reason: str = ""


async def _status(daemon: Daemon, asked: Where, caller: Caller) -> object:
    about = {"pid": os.getpid(), "version": __version__, "started_at": builtins(daemon.started_at)}
    whole = status_of(daemon.fleet, about, environment=asked.environment)
    return whole if may(caller, "see", EVERYTHING) else seen_status(whole, caller)


def seen_status(whole: Json, caller: Caller) -> Json:
    """The status without what the caller may not see."""
    environments = [
        one | {"services": _seen(one["services"], caller, one["environment"])}
        for one in whole["environments"]
        if sees_part_of(caller, Place(one["environment"]))
    ]
    whole_ones = tuple(
        f"{one['environment']}: " for one in environments if may(caller, "see", Place(one["environment"]))
    )
    return whole | {
        "environments": environments,
        "needs_person": [sentence for sentence in whole["needs_person"] if sentence.startswith(whole_ones)],
        "errors": [],  # of files, which may be about anything
    }


def _seen(rows: Iterable[Json], caller: Caller, environment: str) -> list[Json]:
    return [row for row in rows if sees_part_of(caller, Place(environment, row["service"]))]


async def _explain(daemon: Daemon, asked: Service, _caller: Caller) -> object:
    return explain_of(daemon.fleet, asked.environment, asked.service)


async def _plan(daemon: Daemon, _asked: Nothing, caller: Caller) -> object:
    plan = plan_of(daemon.fleet)
    return plan | {"changes": [one for one in plan["changes"] if _sees_row(caller, one)]}


async def _rollback(daemon: Daemon, wanted: Reasoned, caller: Caller) -> object:
    operation = await people.rollback(
        daemon.fleet, wanted.environment, wanted.service, actor=caller.name, reason=wanted.reason
    )
    return {"operation": operation}


async def _retry(daemon: Daemon, wanted: Service, caller: Caller) -> object:
    return {"commit": await people.retry(daemon.fleet, wanted.environment, wanted.service, actor=caller.name)}


async def _quarantine(daemon: Daemon, _asked: Nothing, caller: Caller) -> object:
    rows = quarantine_of(daemon.fleet)["quarantine"]
    return {"quarantine": [row for row in rows if _sees_row(caller, row)]}


async def _release(daemon: Daemon, wanted: Reasoned, caller: Caller) -> object:
    released = people.release(
        daemon.fleet, wanted.environment, wanted.service, actor=caller.name, why=wanted.reason
    )
    return {"released": [{"operation": row.operation, "target": str(row.target)} for row in released]}


async def _recover(daemon: Daemon, _asked: Nothing, caller: Caller) -> object:
    rows = recover_of(daemon.fleet)["environments"]
    return {
        "environments": [
            row | {"services": _seen(row["services"], caller, row["environment"])}
            for row in rows
            if sees_part_of(caller, Place(row["environment"]))
        ]
    }


async def _accept(daemon: Daemon, wanted: Where, caller: Caller) -> object:
    fleet = daemon.fleet
    accepted = recovery.accept(fleet.core, fleet.passes, wanted.environment, actor=caller.name)
    return {"accepted": accepted}


async def _sync(daemon: Daemon, wanted: Sync, _caller: Caller) -> object:
    return {"revision": await daemon.fleet.refresh(accept_rewrite=wanted.accept_rewrite)}


def _sees_row(caller: Caller, row: Json) -> bool:
    return sees_part_of(caller, Place(row["environment"], row["service"]))


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "GET",
        "/upgrade/status",
        "What is pinned, what runs, and how it is.",
        "see",
        Where,
        _status,
        part=True,
    ),
    Endpoint(
        "GET", "/upgrade/explain", "Why a service is not yet where its pin says.", "see", Service, _explain
    ),
    Endpoint("POST", "/upgrade/plan", "What would change now.", "see", Nothing, _plan, part=True),
    Endpoint(
        "POST",
        "/upgrade/rollback",
        "Restore what ran before, and revert the pin.",
        "operate",
        Reasoned,
        _rollback,
    ),
    Endpoint("POST", "/upgrade/retry", "Commit a quarantined pin again.", "operate", Service, _retry),
    Endpoint(
        "GET", "/quarantine", "What failed and is not tried again.", "see", Nothing, _quarantine, part=True
    ),
    Endpoint("POST", "/quarantine/release", "Allow one more attempt.", "approve", Reasoned, _release),
    Endpoint("GET", "/recover", "What is in safe mode.", "see", Nothing, _recover, part=True),
    Endpoint("POST", "/recover/accept", "Leave safe mode.", "administer", Where, _accept),
    Endpoint("POST", "/sync", "Fetch now.", "operate", Sync, _sync, part=True),
)
