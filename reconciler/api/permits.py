"""The routes of what people say about gates: holds, approvals, overrides, adoptions; all by the same description."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Any, Protocol

from msgspec import Meta, Struct, field

from reconciler.api.endpoint import Endpoint, Where
from reconciler.engine import adoption, permits
from reconciler.engine.daemon import Daemon
from reconciler.engine.fleet import Fleet
from reconciler.model.adoption import Adoption
from reconciler.model.codec import builtins
from reconciler.model.permits import Approval, Hold, Override, Permits
from reconciler.model.rights import Caller, Place, Right, sees_part_of

Json = dict[str, Any]
Permit = Hold | Approval | Override | Adoption
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


class WantedAdoption(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    service: str
    reason: str
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
    via: str


class ApprovalsShape(Struct, frozen=True):
    approvals: list[ApprovalShape]


class OverridesShape(Struct, frozen=True):
    overrides: list[Override]


class AdoptionsShape(Struct, frozen=True):
    adoptions: list[Adoption]


class Ends(Protocol):
    """Ends a permit, or settles it otherwise, by its number."""

    def __call__(self, fleet: Fleet, number: int, *, actor: str) -> Permit: ...


Given = Callable[[Permits], Iterable[Permit]]
"""Those of one kind."""


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
        "via": approval.via,
    }


def _shown(one: Permit) -> object:
    return approval_json(one) if isinstance(one, Approval) else one


def _place(one: Permit) -> Place:
    about = one.ask if isinstance(one, Approval) else one
    return Place(about.environment, about.service)


def _listed(name: str, summary: str, given: Given, answers: Any) -> Endpoint[Where]:
    """Those in force, as far as the caller sees what they are about."""

    async def listed(daemon: Daemon, asked: Where, caller: Caller) -> object:
        found = given(permits.in_force(daemon.fleet, asked.environment))
        return {name: [_shown(one) for one in found if sees_part_of(caller, _place(one))]}

    return Endpoint("GET", f"/{name}", summary, "see", Where, listed, answers=answers, part=True)


def _numbered(
    path: str, summary: str, right: Right, given: Given, end: Ends, answers: Any
) -> Endpoint[Numbered]:
    """What becomes of one of them, which its number names."""

    async def done(daemon: Daemon, asked: Numbered, caller: Caller) -> object:
        return _shown(end(daemon.fleet, asked.id, actor=caller.name))

    def where(daemon: Daemon, asked: Numbered) -> Place | None:
        found = given(permits.in_force(daemon.fleet, None))
        return next((_place(one) for one in found if one.id == asked.id), None)

    return Endpoint("POST", path, summary, right, Numbered, done, answers=answers, place=where)


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


async def _adopt(daemon: Daemon, wanted: WantedAdoption, caller: Caller) -> object:
    return adoption.adopt(
        daemon.fleet,
        wanted.environment,
        wanted.service,
        actor=caller.name,
        reason=wanted.reason,
        until=wanted.until,
        lasting=wanted.for_,
    )


def _holds(found: Permits) -> Iterable[Permit]:
    return found.holds


def _approvals(found: Permits) -> Iterable[Permit]:
    return found.approvals


def _overrides(found: Permits) -> Iterable[Permit]:
    return found.overrides


def _adoptions(found: Permits) -> Iterable[Permit]:
    return found.adoptions


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    _listed("holds", "The holds in force.", _holds, HoldsShape),
    Endpoint("POST", "/holds", "Let nothing start here.", "operate", WantedHold, _hold, answers=Hold),
    _numbered("/holds/release", "End a hold.", "operate", _holds, permits.release_hold, Hold),
    _listed("approvals", "The approvals in force.", _approvals, ApprovalsShape),
    Endpoint(
        "POST",
        "/approvals",
        "Approve the change that is planned.",
        "approve",
        WantedApproval,
        _approve,
        answers=ApprovalShape,
    ),
    _numbered(
        "/approvals/withdraw",
        "Take an approval back.",
        "approve",
        _approvals,
        permits.withdraw,
        ApprovalShape,
    ),
    _listed("overrides", "The overrides in force or asked for.", _overrides, OverridesShape),
    Endpoint(
        "POST",
        "/overrides",
        "Pass by a closed gate, for a while.",
        "administer",
        WantedOverride,
        _override,
        answers=Override,
    ),
    _numbered(
        "/overrides/confirm",
        "Confirm another person's override.",
        "approve",
        _overrides,
        permits.confirm,
        Override,
    ),
    _listed("adoptions", "What may be taken over.", _adoptions, AdoptionsShape),
    Endpoint(
        "POST",
        "/adoptions",
        "Let what is not ours be taken over.",
        "administer",
        WantedAdoption,
        _adopt,
        answers=Adoption,
    ),
    _numbered(
        "/adoptions/withdraw", "Take that back.", "administer", _adoptions, adoption.withdraw, Adoption
    ),
)
