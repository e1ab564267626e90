"""The routes on which people say what is so: holds, approvals, overrides, adoptions, and how a migration stands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from reconciler.api.endpoint import Endpoint, Where
from reconciler.engine import permits
from reconciler.engine.daemon import Daemon
from reconciler.model.adoption import Adoption
from reconciler.model.codec import builtins
from reconciler.model.permits import Approval, Hold, Override
from reconciler.model.rights import Caller, Place, sees_part_of

Json = dict[str, Any]
NUMBER_MAX = 2**53


class Numbered(Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]


class WantedHold(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    reason: str
    service: str | None = None
    until: str | None = None
    for_: str | None = field(default=None, name="for")


class WantedApproval(Struct, frozen=True, forbid_unknown_fields=True):
    """`revision`: the commit whose change was looked at, as the plan has it; where that moved, nothing is approved."""

    environment: str
    service: str
    revision: Annotated[str, Meta(pattern=r"^[0-9a-f]{40}$")] | None = None
    until: str | None = None
    for_: str | None = field(default=None, name="for")


class WantedOverride(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    gate: str
    reason: str
    service: str | None = None
    until: str | None = None
    for_: str | None = field(default=None, name="for")


class HoldsShape(Struct, frozen=True):
    holds: list[Hold]


class ApprovalShape(Struct, frozen=True):
    id: int
    environment: str
    service: str
    from_: str | None = field(name="from")
    to: str
    path: list[str]
    revision: str
    by: str
    at: datetime
    until: datetime


class ApprovalsShape(Struct, frozen=True):
    approvals: list[ApprovalShape]


class OverridesShape(Struct, frozen=True):
    overrides: list[Override]


def approval_json(approval: Approval) -> Json:
    ask = approval.ask
    return {
        "id": approval.id,
        "environment": ask.environment,
        "service": ask.service,
        "from": ask.from_target,
        "to": ask.to_target,
        "path": list(ask.path),
        "revision": ask.revision,
        "by": approval.by,
        "at": builtins(approval.at),
        "until": builtins(approval.until),
    }


async def _holds(daemon: Daemon, asked: Where, caller: Caller) -> object:
    found = permits.in_force(daemon.fleet, asked.environment)
    return {"holds": [one for one in found.holds if seen(caller, one.environment, one.service)]}


async def _hold(daemon: Daemon, wanted: WantedHold, caller: Caller) -> object:
    return permits.hold(
        daemon.fleet,
        wanted.environment,
        wanted.service,
        actor=caller.name,
        reason=wanted.reason,
        until=wanted.until,
        lasting=wanted.for_,
    )


async def _release(daemon: Daemon, wanted: Numbered, caller: Caller) -> object:
    return permits.release_hold(daemon.fleet, wanted.id, actor=caller.name)


async def _approvals(daemon: Daemon, asked: Where, caller: Caller) -> object:
    found = permits.in_force(daemon.fleet, asked.environment)
    return {
        "approvals": [
            approval_json(one)
            for one in found.approvals
            if seen(caller, one.ask.environment, one.ask.service)
        ]
    }


async def _approve(daemon: Daemon, wanted: WantedApproval, caller: Caller) -> object:
    made = await permits.approve(
        daemon.fleet,
        wanted.environment,
        wanted.service,
        actor=caller.name,
        until=wanted.until,
        lasting=wanted.for_,
        revision=wanted.revision,
    )
    return approval_json(made)


async def _withdraw(daemon: Daemon, wanted: Numbered, caller: Caller) -> object:
    return approval_json(permits.withdraw(daemon.fleet, wanted.id, actor=caller.name))


async def _overrides(daemon: Daemon, asked: Where, caller: Caller) -> object:
    found = permits.in_force(daemon.fleet, asked.environment)
    return {"overrides": [one for one in found.overrides if seen(caller, one.environment, one.service)]}


async def _override(daemon: Daemon, wanted: WantedOverride, caller: Caller) -> object:
    return permits.override(
        daemon.fleet,
        wanted.environment,
        wanted.service,
        gate=wanted.gate,
        actor=caller.name,
        reason=wanted.reason,
        until=wanted.until,
        lasting=wanted.for_,
    )


async def _confirm(daemon: Daemon, wanted: Numbered, caller: Caller) -> object:
    return permits.confirm(daemon.fleet, wanted.id, actor=caller.name)


def seen(caller: Caller, environment: str, service: str | None) -> bool:
    return sees_part_of(caller, Place(environment, service))


def place_of(number: int, given: Iterable[Hold | Override | Adoption]) -> Place | None:
    """Where what has this number is in force; None where nothing has it."""
    return next((Place(one.environment, one.service) for one in given if one.id == number), None)


def _of_hold(daemon: Daemon, asked: Numbered) -> Place | None:
    return place_of(asked.id, permits.in_force(daemon.fleet, None).holds)


def _of_approval(daemon: Daemon, asked: Numbered) -> Place | None:
    asks = {one.id: one.ask for one in permits.in_force(daemon.fleet, None).approvals}
    ask = asks.get(asked.id)
    return Place(ask.environment, ask.service) if ask else None


def _of_override(daemon: Daemon, asked: Numbered) -> Place | None:
    return place_of(asked.id, permits.in_force(daemon.fleet, None).overrides)


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint("GET", "/holds", "The holds in force.", "see", Where, _holds, answers=HoldsShape, part=True),
    Endpoint("POST", "/holds", "Let nothing start here.", "operate", WantedHold, _hold, answers=Hold),
    Endpoint(
        "POST", "/holds/release", "End a hold.", "operate", Numbered, _release, answers=Hold, place=_of_hold
    ),
    Endpoint(
        "GET",
        "/approvals",
        "The approvals in force.",
        "see",
        Where,
        _approvals,
        answers=ApprovalsShape,
        part=True,
    ),
    Endpoint(
        "POST",
        "/approvals",
        "Approve the change that is planned.",
        "approve",
        WantedApproval,
        _approve,
        answers=ApprovalShape,
    ),
    Endpoint(
        "POST",
        "/approvals/withdraw",
        "Take an approval back.",
        "approve",
        Numbered,
        _withdraw,
        answers=ApprovalShape,
        place=_of_approval,
    ),
    Endpoint(
        "GET",
        "/overrides",
        "The overrides in force or asked for.",
        "see",
        Where,
        _overrides,
        answers=OverridesShape,
        part=True,
    ),
    Endpoint(
        "POST",
        "/overrides",
        "Pass by a closed gate, for a while.",
        "administer",
        WantedOverride,
        _override,
        answers=Override,
    ),
    Endpoint(
        "POST",
        "/overrides/confirm",
        "Confirm another person's override.",
        "approve",
        Numbered,
        _confirm,
        answers=Override,
        place=_of_override,
    ),
)
