"""The route on which a person says how a migration stands that nothing can tell of."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from reconciler.api.endpoint import Endpoint
from reconciler.engine import people
from reconciler.engine.daemon import Daemon
from reconciler.model.data import Recorded
from reconciler.model.rights import Caller


class SettledMigration(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    service: str
    id: str
    applied: bool
    reason: str


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


ENDPOINTS: tuple[Endpoint[Any], ...] = (
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
