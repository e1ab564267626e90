"""The flags that are in force, by environment: who gets what, since when and by which commit, and a switch of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from reconciler.api.flags import sees
from reconciler.api.web.page import Pages, allowed
from reconciler.engine.flags import in_force_json
from reconciler.engine.in_force import InForce
from reconciler.model.codec import encode
from reconciler.model.flags import exactly
from reconciler.model.rights import Caller, Place, sees_part_of
from reconciler.model.switching import told

SHOWN_MAX = 200
"""So many of all environments together; the others are found by a word of their names."""


class Shown(Struct, frozen=True):
    """One flag of one environment. `about` is what the API says of it; `rules` in words, in the order in which they
    count; `variants`: all that anybody may get."""

    about: Mapping[str, Any]
    everybody: str
    default: str
    rules: list[str]
    variants: list[str]
    kind: str
    since: datetime
    pending: str
    may_switch: bool


class Group(Struct, frozen=True):
    """An environment, as far as the caller sees it."""

    environment: str
    zone: str
    flags: list[Shown]


async def show(pages: Pages, request: Request, caller: Caller) -> Response:
    """`?environment=` of this one alone; `?q=` those with that in their names."""
    asked = {name: request.query_params.get(name, "").strip()[:200] for name in ("environment", "q")}
    environments = [name for name in sorted(pages.fleet.passes) if sees_part_of(caller, Place(name))]
    left, groups, total = SHOWN_MAX, list[Group](), 0
    for name in environments:
        if asked["environment"] not in ("", name):
            continue
        found = [
            flag
            for key, flag in sorted(pages.core.flags.get(name, {}).items())
            if asked["q"].casefold() in key.casefold() and sees(caller, name, flag.standing)
        ]
        total += len(found)
        shown, left = found[:left], max(0, left - len(found))
        groups.append(Group(name, pages.zone(name), [_shown(pages, caller, name, flag) for flag in shown]))
    return await pages.render(
        request,
        caller,
        "flags.html",
        environments=environments,
        asked=asked,
        groups=groups,
        left_out=max(0, total - SHOWN_MAX),
    )


def _shown(pages: Pages, caller: Caller, environment: str, flag: InForce) -> Shown:
    about, standing = in_force_json(pages.core, environment, flag), flag.standing
    values = [about["value"], *(one["value"] for rule in about["rules"] for one in rule["split"])]
    return Shown(
        about=about,
        everybody=_text(about["value"]),
        default=_text(about["default"]),
        rules=[rule_text(rule) for rule in about["rules"]],
        variants=list(dict.fromkeys(map(_text, values))),
        kind=exactly(standing.default),
        since=flag.since,
        pending=told(about["pending"]) if about["pending"] else "",
        may_switch=all(allowed(caller, "operate", environment, one) for one in standing.services),
    )


def rule_text(rule: Mapping[str, Any]) -> str:
    """`where country one_of ["de", "at"]: true for 50 %, shared out by targetingKey`."""
    conditions = [
        f"{name} {' '.join(f'{key} {json.dumps(value, ensure_ascii=False)}' for key, value in said.items())}"
        if isinstance(said, dict)
        else f"{name} is {json.dumps(said, ensure_ascii=False)}"
        for name, said in rule["when"].items()
    ]
    whom = f"where {' and '.join(conditions)}: " if conditions else ""
    split = rule["split"]
    if len(split) == 1 and split[0]["percent"] == 100:
        return f"{whom}{_text(split[0]['value'])}"
    parts = ", ".join(f"{_text(one['value'])} for {one['percent']:g} %" for one in split)
    return f"{whom}{parts}, shared out by {rule['by']}"


def _text(value: object) -> str:
    """As JSON, in one line."""
    return encode(value).decode()
