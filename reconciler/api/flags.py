"""The routes about flags for people: what is in force, how it came to be, and what somebody would get."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from reconciler.api.endpoint import Endpoint, Where
from reconciler.engine.core import InForce
from reconciler.engine.daemon import Daemon
from reconciler.engine.people import Conflict
from reconciler.model.codec import builtins
from reconciler.model.evaluation import evaluate
from reconciler.model.rights import Caller, Place, may
from reconciler.model.standing import Standing
from reconciler.model.switching import evaluated_json
from reconciler.store import FlagRow

Json = dict[str, Any]
HISTORY_MAX = 1000


class WantedHistory(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str | None = None
    flag: str | None = None
    limit: Annotated[int, Meta(ge=1, le=HISTORY_MAX)] = 100


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    flag: str
    context: dict[str, Any] = {}


async def _flags(daemon: Daemon, asked: Where, caller: Caller) -> object:
    names = sorted(daemon.core.flags) if asked.environment is None else [asked.environment]
    return {
        "flags": [
            flag_json(daemon, environment, flag)
            for environment in names
            for _, flag in sorted(daemon.core.flags.get(environment, {}).items())
            if sees(caller, environment, flag.standing)
        ]
    }


async def _history(daemon: Daemon, asked: WantedHistory, caller: Caller) -> object:
    rows = daemon.core.store.flag_history(asked.environment, asked.flag, limit=asked.limit)
    return {
        "history": [row_json(row) for row in rows if may(caller, "see", Place(row.environment))],
    }


async def _evaluate(daemon: Daemon, asked: Question, caller: Caller) -> object:
    flag = daemon.core.flags.get(asked.environment, {}).get(asked.flag)
    if flag is None or not sees(caller, asked.environment, flag.standing):
        known = [
            name
            for name, one in sorted(daemon.core.flags.get(asked.environment, {}).items())
            if sees(caller, asked.environment, one.standing)
        ]
        raise Conflict(
            f"{asked.environment} has no flag {asked.flag[:100]}", f"it has {', '.join(known) or 'none'}"
        )
    return evaluated_json(asked.environment, evaluate(flag.standing, asked.context))


def sees(caller: Caller, environment: str, standing: Standing) -> bool:
    """Whether the caller may see a service that declares it."""
    return any(may(caller, "see", Place(environment, service)) for service in standing.services)


def flag_json(daemon: Daemon, environment: str, flag: InForce) -> Json:
    """One flag as it is in force."""
    standing, desired = flag.standing, daemon.core.desired.get(environment)
    works = desired.workloads if desired else {}
    declared = [
        found
        for service in standing.services
        if service in works and (found := works[service].release.flags.get(standing.name))
    ]
    return {
        "environment": environment,
        "flag": standing.name,
        "services": list(standing.services),
        "description": declared[0].description if declared else "",
        "live": standing.live,
        "default": standing.default,
        **standing.said(),
        "revision": flag.revision,
        "author": flag.author or None,
        "since": builtins(flag.since),
        "pending": flag.pending.said() if flag.pending else None,
        "gates": builtins(flag.waits),
        "needed_by": list(flag.needed_by),
    }


def row_json(row: FlagRow) -> Json:
    """One row of its history."""
    return {
        "environment": row.environment,
        "flag": row.flag,
        "revision": row.revision,
        "author": row.author or None,
        "since": builtins(row.since),
        "live": row.standing.live if row.standing else None,
        "standing": row.standing.said() if row.standing else None,
    }


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint("GET", "/flags", "The flags that are in force.", "see", Where, _flags, part=True),
    Endpoint(
        "GET",
        "/flags/history",
        "How flags came to stand as they do, the newest first.",
        "see",
        WantedHistory,
        _history,
        part=True,
    ),
    Endpoint(
        "POST",
        "/flags/evaluate",
        "What somebody would get of a flag, and why.",
        "see",
        Question,
        _evaluate,
        part=True,
    ),
)
