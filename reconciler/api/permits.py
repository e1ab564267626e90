"""The routes on which people say what is so: holds, approvals, overrides, adoptions, and how a migration stands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from msgspec import Meta, Struct, field

from reconciler.engine import adoption, people, permits
from reconciler.engine.daemon import Daemon
from reconciler.model.codec import builtins
from reconciler.model.permits import Approval

T = TypeVar("T")
Json = dict[str, Any]
NUMBER_MAX = 2**53


@dataclass(frozen=True)
class Saying(Generic[T]):
    """One route: `kind` is what its body, or the query of a GET, says; `do` gets that, and who says it."""

    path: str
    method: str
    kind: type[T]
    do: Callable[[Daemon, T, str], Awaitable[object]]


class Where(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str | None = None


class Numbered(Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]


class WantedHold(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    reason: str
    service: str | None = None
    until: str | None = None
    for_: str | None = field(default=None, name="for")


class WantedApproval(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    service: str
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


class SettledMigration(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    service: str
    id: str
    applied: bool
    reason: str


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


async def _holds(daemon: Daemon, asked: Where, _actor: str) -> object:
    found = permits.in_force(daemon.fleet, asked.environment)
    return {"holds": found.holds}


async def _hold(daemon: Daemon, wanted: WantedHold, actor: str) -> object:
    return permits.hold(
        daemon.fleet,
        wanted.environment,
        wanted.service,
        actor=actor,
        reason=wanted.reason,
        until=wanted.until,
        lasting=wanted.for_,
    )


async def _release(daemon: Daemon, wanted: Numbered, actor: str) -> object:
    return permits.release_hold(daemon.fleet, wanted.id, actor=actor)


async def _approvals(daemon: Daemon, asked: Where, _actor: str) -> object:
    found = permits.in_force(daemon.fleet, asked.environment)
    return {"approvals": [approval_json(one) for one in found.approvals]}


async def _approve(daemon: Daemon, wanted: WantedApproval, actor: str) -> object:
    made = await permits.approve(
        daemon.fleet,
        wanted.environment,
        wanted.service,
        actor=actor,
        until=wanted.until,
        lasting=wanted.for_,
    )
    return approval_json(made)


async def _withdraw(daemon: Daemon, wanted: Numbered, actor: str) -> object:
    return approval_json(permits.withdraw(daemon.fleet, wanted.id, actor=actor))


async def _overrides(daemon: Daemon, asked: Where, _actor: str) -> object:
    found = permits.in_force(daemon.fleet, asked.environment)
    return {"overrides": found.overrides}


async def _override(daemon: Daemon, wanted: WantedOverride, actor: str) -> object:
    return permits.override(
        daemon.fleet,
        wanted.environment,
        wanted.service,
        gate=wanted.gate,
        actor=actor,
        reason=wanted.reason,
        until=wanted.until,
        lasting=wanted.for_,
    )


async def _confirm(daemon: Daemon, wanted: Numbered, actor: str) -> object:
    return permits.confirm(daemon.fleet, wanted.id, actor=actor)


async def _adoptions(daemon: Daemon, asked: Where, _actor: str) -> object:
    found = permits.in_force(daemon.fleet, asked.environment)
    return {"adoptions": found.adoptions}


async def _adopt(daemon: Daemon, wanted: WantedAdoption, actor: str) -> object:
    return adoption.adopt(
        daemon.fleet,
        wanted.environment,
        wanted.service,
        actor=actor,
        reason=wanted.reason,
        until=wanted.until,
        lasting=wanted.for_,
    )


async def _unadopt(daemon: Daemon, wanted: Numbered, actor: str) -> object:
    return adoption.withdraw(daemon.fleet, wanted.id, actor=actor)


async def _settle(daemon: Daemon, wanted: SettledMigration, actor: str) -> object:
    return people.settle_migration(
        daemon.fleet,
        wanted.environment,
        wanted.service,
        wanted.id,
        applied=wanted.applied,
        actor=actor,
        why=wanted.reason,
    )


SAYINGS: tuple[Saying[Any], ...] = (
    Saying("/holds", "GET", Where, _holds),
    Saying("/holds", "POST", WantedHold, _hold),
    Saying("/holds/release", "POST", Numbered, _release),
    Saying("/approvals", "GET", Where, _approvals),
    Saying("/approvals", "POST", WantedApproval, _approve),
    Saying("/approvals/withdraw", "POST", Numbered, _withdraw),
    Saying("/overrides", "GET", Where, _overrides),
    Saying("/overrides", "POST", WantedOverride, _override),
    Saying("/overrides/confirm", "POST", Numbered, _confirm),
    Saying("/adoptions", "GET", Where, _adoptions),
    Saying("/adoptions", "POST", WantedAdoption, _adopt),
    Saying("/adoptions/withdraw", "POST", Numbered, _unadopt),
    Saying("/migrations/settle", "POST", SettledMigration, _settle),
)
