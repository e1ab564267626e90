"""The routes about flags for people: what is in force, how it came to be, and what somebody would get."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from reconciler.api.endpoint import Endpoint, Where
from reconciler.api.entry import check
from reconciler.api.flag_shapes import EvaluatedShape, FlagHistoryShape, FlagsShape, FlippedShape
from reconciler.engine.daemon import Daemon
from reconciler.engine.flags import in_force_json, row_json
from reconciler.engine.flip import flip
from reconciler.engine.people import Conflict
from reconciler.model.evaluation import evaluate
from reconciler.model.flip import Wanted, parsed
from reconciler.model.rights import Caller, Place, may
from reconciler.model.standing import Standing
from reconciler.model.switching import evaluated_json

HISTORY_MAX = 1000
VALUE_CHARS_MAX = 10_000


class WantedHistory(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str | None = None
    flag: str | None = None
    limit: Annotated[int, Meta(ge=1, le=HISTORY_MAX)] = 100


class Switch(Struct, frozen=True, forbid_unknown_fields=True):
    """`value`: as `ugs flags set` takes it: `true`, `off`, text, a number, JSON. `percent`: for so many of those to
    whom no earlier rule gives a value; without it for everybody, and rules go."""

    environment: str
    flag: str
    value: Annotated[str, Meta(max_length=VALUE_CHARS_MAX)]
    percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    reason: str = ""


class Unset(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str
    flag: str
    reason: str = ""


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
    standing = _standing(daemon, asked.environment, asked.flag, caller)
    return evaluated_json(asked.environment, evaluate(standing, asked.context))


async def _set(daemon: Daemon, wanted: Switch, caller: Caller) -> object:
    standing = _operated(daemon, wanted.environment, wanted.flag, caller)
    return await _flipped(daemon, wanted, Wanted(parsed(standing, wanted.value), wanted.percent), caller)


async def _unset(daemon: Daemon, wanted: Unset, caller: Caller) -> object:
    _operated(daemon, wanted.environment, wanted.flag, caller)
    return await _flipped(daemon, wanted, None, caller)


async def _flipped(daemon: Daemon, asked: Switch | Unset, wanted: Wanted | None, caller: Caller) -> object:
    commit = await flip(
        daemon.fleet, asked.environment, asked.flag, wanted, actor=caller.name, reason=asked.reason
    )
    return FlippedShape(commit)


def _operated(daemon: Daemon, environment: str, flag: str, caller: Caller) -> Standing:
    """The flag, of which the caller may operate every service that declares it. Raises Conflict, and Denied."""
    standing = _standing(daemon, environment, flag, caller)
    for service in standing.services:
        check(daemon, "operate", Place(environment, service), caller)
    return standing


def _standing(daemon: Daemon, environment: str, flag: str, caller: Caller) -> Standing:
    """As it is in force. Raises Conflict, alike for what is not there and what is not the caller's to see."""
    here = daemon.core.flags.get(environment, {})
    known = [name for name, one in sorted(here.items()) if sees(caller, environment, one.standing)]
    if flag not in known:
        raise Conflict(f"{environment} has no flag {flag[:100]}", f"it has {', '.join(known) or 'none'}")
    return here[flag].standing


def sees(caller: Caller, environment: str, standing: Standing) -> bool:
    """Whether the caller may see a service that declares it."""
    return any(may(caller, "see", Place(environment, service)) for service in standing.services)


def _somewhere(_daemon: Daemon, asked: Switch | Unset) -> Place:
    """In its environment: it may be of several services, each of which the caller has to operate."""
    return Place(asked.environment)


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
    Endpoint(
        "POST",
        "/flags/set",
        "Switch a flag, by a commit.",
        "operate",
        Switch,
        _set,
        answers=FlippedShape,
        place=_somewhere,
        part=True,
    ),
    Endpoint(
        "POST",
        "/flags/unset",
        "Let the release's default count again, by a commit.",
        "operate",
        Unset,
        _unset,
        answers=FlippedShape,
        place=_somewhere,
        part=True,
    ),
)
