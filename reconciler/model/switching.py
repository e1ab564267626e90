"""When a live flag may be switched, and how that is told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model import permits as said
from reconciler.model.circumstances import Gate
from reconciler.model.codec import encode
from reconciler.model.environment import Environment
from reconciler.model.evaluation import Evaluated, Failed
from reconciler.model.permits import Permits
from reconciler.model.release import AnyFlagValue, Release
from reconciler.model.standing import Standing
from reconciler.model.targeting import ALL_PERCENT
from reconciler.model.window import frozen, opening

VALUE_CHARACTERS_MAX = 60
WHOLE_ENVIRONMENT = ""


class Push(Struct, frozen=True):
    """What brought a switch that waits: the rules before it (None: the environment is new) and after it.

    `to`: what the flag was made, as text.
    """

    to: str
    before: Environment | None
    since: Environment


class Rules(Struct, frozen=True):
    """By what an environment's flags are switched at a revision, what that was before the push that brought it, and
    by which push each switch came that is not in force yet."""

    revision: str
    now: Environment
    before: Environment | None = None
    pushes: dict[str, Push] = {}


def rules_at(
    revision: str, environment: Environment, moved: Mapping[str, Standing | None], known: Rules | None
) -> Rules:
    """The rules at a revision at which these flags are to stand so, given those that were known last."""
    bare = replace(environment, pins={}, flags={}, renamed_from=None)
    before = known.before if known and known.revision == revision else known.now if known else None
    pushes = {}
    for flag, standing in moved.items():
        to = encode(standing.said() if standing else None).decode()
        push = known.pushes.get(flag) if known else None
        pushes[flag] = push if push and push.to == to else Push(to, before, bare)
    return Rules(revision, bare, before, pushes)


def closed_for(rules: Rules, flag: str, permits: Permits, *, now: datetime) -> tuple[Gate, ...]:
    """What the switch of a flag waits for: a window of class `config`, the end of a freeze or of a hold.

    Where the very push that brought it opened them, as they stood before: nobody opens a gate and walks through it at
    once. What a later push opened is open.
    """
    gates, push = _closed(rules.now, permits, now), rules.pushes.get(flag)
    if gates or push is None or push.before is None or _closed(push.since, permits, now):
        return gates
    return _closed(push.before, permits, now)


def _closed(place: Environment, permits: Permits, now: datetime) -> tuple[Gate, ...]:
    if place.policy.flags != "window":
        return ()
    looks = {
        "hold": said.hold_gate(permits, place, WHOLE_ENVIRONMENT, now=now),
        "freeze": frozen(place, "config", now=now),
        "window": opening(place, "config", now=now),
    }
    return tuple(
        Gate(name, open=False, reason=state.reason, until=state.until, opened_by=state.opened_by)
        for name, state in looks.items()
        if not state.open and not said.overridden(permits, name, place, WHOLE_ENVIRONMENT, now=now)
    )


def described(standing: Standing) -> str:
    """What people get, in a few words."""
    return told(standing.said())


def told(said: Mapping[str, Any]) -> str:
    """The same, of what `Standing.said` has made: its value and rules."""
    plain, rules = text_of(said["value"]), said["rules"]
    if not rules:
        return plain
    first = rules[0]
    if len(rules) > 1 or first["when"] or len(first["split"]) > 1:
        return f"{plain}, and otherwise by {len(rules)} rule{'s' if len(rules) > 1 else ''}"
    [portion] = first["split"]
    whom = "all" if portion["percent"] == ALL_PERCENT else f"{portion['percent']:g} %"
    return f"{plain}, and {text_of(portion['value'])} for {whom}"


def text_of(value: AnyFlagValue) -> str:
    """A value as JSON, cut to a length that a sentence can hold."""
    text = encode(value).decode()
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}…"


def standing_json(environment: str, standing: Standing, releases: Iterable[Release]) -> dict[str, Any]:
    """One flag as an environment has it, as `--json` and the API tell it; described as the releases describe it."""
    declared = [one.flags[standing.name] for one in releases if standing.name in one.flags]
    return {
        "environment": environment,
        "flag": standing.name,
        "services": list(standing.services),
        "description": next((one.description for one in declared if one.description), ""),
        "live": standing.live,
        "default": standing.default,
        **standing.said(),
        # What only a daemon knows.
        "revision": None,
        "author": None,
        "since": None,
        "pending": None,
        "gates": [],
        "needed_by": [],
    }


def evaluated_json(environment: str, found: Evaluated | Failed) -> dict[str, Any]:
    """What somebody gets, as `--json` and the API tell it."""
    value = found if isinstance(found, Evaluated) else None
    error = found if isinstance(found, Failed) else None
    return {
        "environment": environment,
        "flag": found.key,
        "value": value.value if value else None,
        "variant": value.variant if value else None,
        "reason": value.reason if value else "ERROR",
        "error_code": error.code if error else None,
        "error_details": error.details if error else None,
    }
