"""When a live flag may be switched, and how that is told."""

from __future__ import annotations

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
from reconciler.model.release import AnyFlagValue
from reconciler.model.standing import Standing
from reconciler.model.targeting import ALL_PERCENT
from reconciler.model.window import Opening, frozen, opening

VALUE_CHARACTERS_MAX = 60
WHOLE_ENVIRONMENT = ""


class Rules(Struct, frozen=True):
    """By what an environment's flags are switched at a revision, and what that was before the push that brought it."""

    revision: str
    now: Environment
    before: Environment | None = None


def rules_at(revision: str, environment: Environment, known: Rules | None) -> Rules:
    """The rules at a revision, given those that were known last."""
    bare = replace(environment, pins={}, flags={}, renamed_from=None)
    if known is None or known.revision == revision:
        return Rules(revision, bare, known.before if known else None)
    return Rules(revision, bare, known.now)


def closed_for_flags(rules: Rules, permits: Permits, *, now: datetime) -> tuple[Gate, ...]:
    """What a switch waits for: a window of class `config`, the end of a freeze or of a hold.

    Also as it stood before the push: nobody opens a gate and walks through it at once.
    """
    places = [one for one in (rules.now, rules.before) if one and one.policy.flags == "window"]
    found: dict[str, Gate] = {}
    for place in places:
        looks = {
            "hold": said.hold_gate(permits, place, WHOLE_ENVIRONMENT, now=now),
            "freeze": frozen(place, "config", now=now),
            "window": opening(place, "config", now=now),
        }
        for name, state in looks.items():
            if not state.open and not said.overridden(permits, name, place, WHOLE_ENVIRONMENT, now=now):
                found.setdefault(name, _gate(name, state))
    return tuple(found.values())


def described(standing: Standing) -> str:
    """What people get, in a few words."""
    plain = text_of(standing.plain)
    if not standing.rules:
        return plain
    first = standing.rules[0]
    if len(standing.rules) > 1 or first.when or len(first.portions) > 1:
        count = len(standing.rules)
        return f"{plain}, and otherwise by {count} rule{'s' if count > 1 else ''}"
    [portion] = first.portions
    whom = "all" if portion.percent == ALL_PERCENT else f"{portion.percent:g} %"
    return f"{plain}, and {text_of(portion.value)} for {whom}"


def text_of(value: AnyFlagValue) -> str:
    """A value as JSON, cut to a length that a sentence can hold."""
    text = encode(value).decode()
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}…"


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


def _gate(name: str, state: Opening) -> Gate:
    return Gate(name, open=False, reason=state.reason, until=state.until, opened_by=state.opened_by)
