"""The routes on which people take responsibility: for what is not ours, and for how a migration stands."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from reconciler.api.endpoint import Endpoint, Where
from reconciler.api.permits import Numbered, place_of, seen
from reconciler.engine import adoption, people, permits
from reconciler.engine.daemon import Daemon
from reconciler.model.adoption import Adoption
from reconciler.model.data import Recorded
from reconciler.model.rights import Caller, Place


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


class AdoptionsShape(Struct, frozen=True):
    adoptions: list[Adoption]


async def _adoptions(daemon: Daemon, asked: Where, caller: Caller) -> object:
    found = permits.in_force(daemon.fleet, asked.environment)
    return {"adoptions": [one for one in found.adoptions if seen(caller, one.environment, one.service)]}


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


async def _unadopt(daemon: Daemon, wanted: Numbered, caller: Caller) -> object:
    return adoption.withdraw(daemon.fleet, wanted.id, actor=caller.name)


async def _settle(daemon: Daemon, wanted: SettledMigration, caller: Caller) -> object:
    return people.settle_migration(
        daemon.fleet,
        wanted.environment,
        wanted.service,
        wanted.id,
        applied=wanted.applied,
        actor=caller.name,
        why=wanted.reason,
    )


def _of_adoption(daemon: Daemon, asked: Numbered) -> Place | None:
    return place_of(asked.id, permits.in_force(daemon.fleet, None).adoptions)


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "GET",
        "/adoptions",
        "What may be taken over.",
        "see",
        Where,
        _adoptions,
        answers=AdoptionsShape,
        part=True,
    ),
    Endpoint(
        "POST",
        "/adoptions",
        "Let what is not ours be taken over.",
        "administer",
        WantedAdoption,
        _adopt,
        answers=Adoption,
    ),
    Endpoint(
        "POST",
        "/adoptions/withdraw",
        "Take that back.",
        "administer",
        Numbered,
        _unadopt,
        answers=Adoption,
        place=_of_adoption,
    ),
    Endpoint(
        "POST",
        "/migrations/settle",
        "Say how a migration stands.",
        "administer",
        SettledMigration,
        _settle,
        answers=Recorded,
    ),
)
