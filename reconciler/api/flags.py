"""The routes about flags for people: what is in force, how it came to be, and what somebody would get."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from reconciler.api.endpoint import Endpoint, Where
from reconciler.api.flag_shapes import EvaluatedShape, FlagHistoryShape, FlagsShape
from reconciler.engine.daemon import Daemon
from reconciler.engine.flags import in_force_json, row_json
from reconciler.engine.people import Conflict
from reconciler.model.evaluation import evaluate
from reconciler.model.rights import Caller, Place, may
from reconciler.model.standing import Standing
from reconciler.model.switching import evaluated_json

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
            in_force_json(daemon.core, environment, flag)
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


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "GET", "/flags", "The flags that are in force.", "see", Where, _flags, answers=FlagsShape, part=True
    ),
    Endpoint(
        "GET",
        "/flags/history",
        "How flags came to stand as they do, the newest first.",
        "see",
        WantedHistory,
        _history,
        answers=FlagHistoryShape,
        part=True,
    ),
    Endpoint(
        "POST",
        "/flags/evaluate",
        "What somebody would get of a flag, and why.",
        "see",
        Question,
        _evaluate,
        answers=EvaluatedShape,
        part=True,
    ),
)
