"""Who owns which fields of an object, by the server's own account (`managedFields`).

Whoever sets a field comes to own it. So what somebody else owns under `spec` of an object that we made is what
they have changed of it, or added to it; nothing has to be remembered to know that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from reconciler.drivers.kubernetes.marks import MANAGER
from reconciler.drivers.kubernetes.objects import Managed

PATHS_MAX = 3
_MANAGER = re.compile('conflict with "([^"]*)"')
HARMLESS = "f:kubectl.kubernetes.io/restartedAt"
"""What `kubectl rollout restart` leaves behind: the pods were replaced, by the same ones."""


def drift(managed: Iterable[Managed]) -> str:
    """What others have set under `spec`, and who; empty when nobody did."""
    found = []
    for entry in strangers(managed):
        paths = sorted(_paths(entry.fields["f:spec"], "spec"))
        more = f" and {len(paths) - PATHS_MAX} more" if len(paths) > PATHS_MAX else ""
        found.append(f"{entry.manager or 'somebody'} set {', '.join(paths[:PATHS_MAX])}{more}")
    return "; ".join(found)


def strangers(managed: Iterable[Managed]) -> list[Managed]:
    """The entries of others that own something under `spec`. The status is nobody's opinion."""
    return [
        entry
        for entry in managed
        if not _ours(entry)
        and entry.subresource != "status"
        and any(True for _ in _paths(entry.fields.get("f:spec", {}), "spec"))
    ]


def scalers(managed: list[dict[str, Any]]) -> list[str]:
    """Who else says how many replicas there are."""
    owners = {
        str(entry.get("manager", ""))
        for entry in managed
        if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
    }
    return sorted(owners - {MANAGER})


def may_overrule(manager: str, patterns: Iterable[str]) -> bool:
    """Whether what this manager has set is a person's hand, which gives way to what is pinned."""
    return any(fnmatchcase(manager, pattern) for pattern in patterns)


def gives_way(causes: Iterable[tuple[str, str]], patterns: tuple[str, ...]) -> bool:
    """Whether all who object to an apply, (field, sentence) each, are such managers."""
    objecting = [_MANAGER.search(said) for _, said in causes]
    return bool(objecting) and all(found and may_overrule(found[1], patterns) for found in objecting)


def taken_over(managed: list[dict[str, Any]], gives_way: Callable[[str], bool]) -> list[dict[str, Any]]:
    """The account with what those managers own under `spec` handed to us.

    With the next apply, what we own and do not name goes away: so what they added does too.
    """
    kept, taken, ours = list[dict[str, Any]](), dict[str, Any](), None
    for entry in managed:
        fields, manager = entry.get("fieldsV1", {}), str(entry.get("manager", ""))
        if manager == MANAGER and entry.get("operation") == "Apply":
            ours = entry
        elif "f:spec" in fields and entry.get("subresource") != "status" and gives_way(manager):
            taken = _united(taken, {"f:spec": fields["f:spec"]})
            if rest := {key: value for key, value in fields.items() if key != "f:spec"}:
                kept.append(entry | {"fieldsV1": rest})
        else:
            kept.append(entry)
    if not taken:
        return managed
    mine = ours or {
        "manager": MANAGER,
        "operation": "Apply",
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {},
    }
    return [*kept, mine | {"fieldsV1": _united(mine["fieldsV1"], taken)}]


def _ours(entry: Managed) -> bool:
    return entry.manager == MANAGER


def _united(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    united = dict(one)
    for key, value in other.items():
        united[key] = _united(united.get(key, {}), value)
    return united


def _paths(fields: dict[str, Any], prefix: str) -> Iterator[str]:
    """The leaves, as people write them: `spec.template.spec.containers[api].image`."""
    inner = {key: value for key, value in fields.items() if key not in (".", HARMLESS)}
    if not inner and "." not in fields and prefix.count(".") and HARMLESS not in fields:
        yield prefix
    for key, value in inner.items():
        kind, _, name = key.partition(":")
        if kind == "f":
            yield from _paths(value, f"{prefix}.{name}")
        else:
            yield from _paths(value, f"{prefix}[{_element(name)}]")


def _element(text: str) -> str:
    """Which element of a list is meant: by its name, or whatever else its key is made of."""
    try:
        key = json.loads(text)
    except ValueError:
        return text
    if isinstance(key, dict):
        return str(key.get("name") or ",".join(f"{name}={value}" for name, value in key.items()))
    return str(key)
