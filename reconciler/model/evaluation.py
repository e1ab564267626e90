"""What a client gets of a flag: a value and why, or an error, in the words of OpenFeature."""

from __future__ import annotations

import hashlib
from typing import Literal

from msgspec import Struct

from reconciler.model.codec import encode
from reconciler.model.release import AnyFlagValue
from reconciler.model.standing import Standing
from reconciler.model.targeting import TARGETING_KEY, Context, FlagRule, applies, attribute, portion_of

Reason = Literal["STATIC", "TARGETING_MATCH", "SPLIT", "DEFAULT"]
ErrorCode = Literal["FLAG_NOT_FOUND", "PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "GENERAL"]
KEY_CHARACTERS_MAX = 1000
VARIANT_DIGITS = 8


class Evaluated(Struct, frozen=True):
    """`variant` names the value: `on` and `off`, the text, the number, of a mapping the beginning of its digest."""

    key: str
    value: AnyFlagValue
    variant: str
    reason: Reason


class Failed(Struct, frozen=True):
    """No value; the client goes by the default in its code."""

    key: str
    code: ErrorCode
    details: str


def evaluate(flag: Standing, context: Context) -> Evaluated | Failed:
    """What whoever the context is about gets. Raises nothing, whatever the context holds."""
    for rule in flag.rules:
        if not applies(rule, context):
            continue
        if not rule.shares:
            if rule.percent:
                whole = next(one for one in rule.portions if one.percent)
                return _answer(flag, whole.value, "TARGETING_MATCH" if rule.when else "STATIC")
            continue
        key = _key(flag.name, rule, context)
        if isinstance(key, Failed):
            return key
        if portion := portion_of(rule, flag.name, key):
            return _answer(flag, portion.value, "SPLIT")
    is_set = flag.value is not None and not flag.rules
    return _answer(flag, flag.plain, "STATIC" if is_set else "DEFAULT")


def variant(value: AnyFlagValue) -> str:
    """A name for a value, as telemetry groups by it."""
    match value:
        case bool():
            return "on" if value else "off"
        case str():
            return value
        case dict():
            return hashlib.sha256(encode(value)).hexdigest()[:VARIANT_DIGITS]
        case _:
            return encode(value).decode()


def _answer(flag: Standing, value: AnyFlagValue, reason: Reason) -> Evaluated:
    # Clients tell whole numbers from others: 2 is 2.0 of a flag whose default is 0.5.
    exact = float(value) if isinstance(flag.default, float) and isinstance(value, int) else value
    return Evaluated(flag.name, exact, variant(exact), reason)


def _key(flag: str, rule: FlagRule, context: Context) -> str | Failed:
    """What decides who gets what of a rule that shares."""
    found = attribute(context, rule.by)
    if found is None:
        if rule.by == TARGETING_KEY:
            why = "who gets which value is a matter of percentages: send a targetingKey in the context"
            return Failed(flag, "TARGETING_KEY_MISSING", why)
        why = f"who gets which value goes by {rule.by}, which the context does not have"
        return Failed(flag, "INVALID_CONTEXT", why)
    text = found if isinstance(found, str) else encode(found).decode()
    if isinstance(found, dict | list) or not 0 < len(text) <= KEY_CHARACTERS_MAX:
        why = f"{rule.by} must be a text of 1 to {KEY_CHARACTERS_MAX} characters, or a number"
        return Failed(flag, "INVALID_CONTEXT", why)
    return text
