"""A flag switched in an environment's file: the one setting edited, and how that is told."""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct

from reconciler.model import splice
from reconciler.model.codec import encode
from reconciler.model.document import read
from reconciler.model.errors import UgsError
from reconciler.model.flags import exactly
from reconciler.model.release import AnyFlagValue
from reconciler.model.standing import Standing
from reconciler.model.switching import text_of

SWITCHES = {"true": True, "on": True, "false": False, "off": False}


class Wanted(Struct, frozen=True):
    """A value, for everybody or for so many percent."""

    value: AnyFlagValue
    percent: float | None = None


def parsed(flag: Standing, text: str) -> AnyFlagValue:
    """The value that a person typed, as the flag's type. Raises UgsError."""
    wanted = exactly(flag.default)
    try:
        match wanted:
            case "true or false":
                return SWITCHES[text.lower()]
            case "text":
                return text
            case "a whole number":
                return int(text)
            case "a number":
                return float(text)
            case _:
                if isinstance(found := json.loads(text), dict):
                    return found
                raise ValueError(text)
    except (KeyError, ValueError) as error:
        example = json.dumps(flag.default, ensure_ascii=False)
        raise UgsError(f"{text}: {flag.name} is {wanted}", f"write it like its default, {example}") from error


def files_of(environment: str) -> tuple[str, str]:
    """Where the settings of an environment may stand: in its only file, or in the one beside its pins."""
    return f"environments/{environment}.yaml", f"environments/{environment}/environment.yaml"


def flipped(data: bytes, path: str, flag: str, wanted: Wanted | None) -> bytes:
    """The file in which it stands so; with None, in which nothing sets it. Raises UgsError."""
    now = (read(data, path).data.get("flags") or {}).get(flag)
    if wanted is None:
        return splice.remove_flag(data, path, flag) if now is not None else data
    return splice.set_flag(data, path, flag, _setting(now, wanted))


def subject(environment: str, flag: str, wanted: Wanted | None) -> str:
    """The first line of the commit."""
    if wanted is None:
        return f"Unset {environment} flag {flag}"
    whom = "" if wanted.percent is None else f" for {wanted.percent:g} %"
    return f"Set {environment} flag {flag} to {text_of(wanted.value)}{whom}"


def _setting(now: Any, wanted: Wanted) -> Any:
    """The setting that makes it so, given the one that stands in the file."""
    value = wanted.value
    if wanted.percent is None:
        return {"value": value} if isinstance(value, dict) else value
    had = now if isinstance(now, dict) else {} if now is None else {"value": now}
    rules = list(had.get("rules", []))
    if rules and rules[-1].keys() <= {"value", "percent"} and _same(rules[-1].get("value"), value):
        rules.pop()
    elif "value" in had and _same(had["value"], value):
        raise UgsError(
            f"everybody to whom no rule gives another value gets {text_of(value)} already",
            "set first what the others are to get",
        )
    percent = int(wanted.percent) if wanted.percent == int(wanted.percent) else wanted.percent
    return had | {"rules": [*rules, {"value": value, "percent": percent}]}


def _same(one: Any, other: Any) -> bool:
    return encode(one) == encode(other)
