"""The routes about what failed and what was lost: the quarantine, and safe mode."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from reconciler.api.endpoint import Endpoint, Nothing, Where
from reconciler.api.shapes import AcceptedShape, QuarantinesShape, RecoveriesShape, ReleasedsShape
from reconciler.api.status import seen_rows, sees_row
from reconciler.engine import people, recovery
from reconciler.engine.daemon import Daemon
from reconciler.engine.status import quarantine_of, recover_of
from reconciler.model.rights import Caller, Place, sees_part_of


class Reasoned(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    service: str
    reason: str = ""


async def _quarantine(daemon: Daemon, _asked: Nothing, caller: Caller) -> object:
    rows = quarantine_of(daemon.fleet)["quarantine"]
    return {"quarantine": [row for row in rows if sees_row(caller, row)]}


async def _release(daemon: Daemon, wanted: Reasoned, caller: Caller) -> object:
    released = people.release(
        daemon.fleet, wanted.environment, wanted.service, actor=caller.name, why=wanted.reason
    )
    return {"released": [{"operation": row.operation, "target": str(row.target)} for row in released]}


async def _recover(daemon: Daemon, _asked: Nothing, caller: Caller) -> object:
    rows = recover_of(daemon.fleet)["environments"]
    return {
        "environments": [
            row | {"services": seen_rows(row["services"], caller, row["environment"])}
            for row in rows
            if sees_part_of(caller, Place(row["environment"]))
        ]
    }


async def _accept(daemon: Daemon, wanted: Where, caller: Caller) -> object:
    fleet = daemon.fleet
    accepted = recovery.accept(fleet.core, fleet.passes, wanted.environment, actor=caller.name)
    return {"accepted": accepted}


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "GET",
        "/quarantine",
        "What failed and is not tried again.",
        "see",
        Nothing,
        _quarantine,
        part=True,
        answers=QuarantinesShape,
    ),
    Endpoint(
        "POST",
        "/quarantine/release",
        "Allow one more attempt.",
        "approve",
        Reasoned,
        _release,
        answers=ReleasedsShape,
    ),
    Endpoint(
        "GET",
        "/recover",
        "What is in safe mode.",
        "see",
        Nothing,
        _recover,
        part=True,
        answers=RecoveriesShape,
    ),
    Endpoint(
        "POST",
        "/recover/accept",
        "Leave safe mode.",
        "administer",
        Where,
        _accept,
        answers=AcceptedShape,
    ),
)
