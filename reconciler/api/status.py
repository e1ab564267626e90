"""The routes about what is so now: the status of all that a caller sees, and why something is not as it should be."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from msgspec import Meta, Struct

from reconciler import __version__
from reconciler.api import cursor
from reconciler.api.answer import Encoded, encoded
from reconciler.api.endpoint import Endpoint, Service
from reconciler.api.entry import Missing
from reconciler.api.shapes import ExplainShape, StatusShape
from reconciler.engine.daemon import Daemon
from reconciler.engine.journal import entry
from reconciler.engine.status import explain_of, status_of, version_of
from reconciler.model.codec import builtins
from reconciler.model.rights import EVERYTHING, Caller, Place, RoleGrant, may, sees_part_of
from reconciler.model.upgrade import Phase

Json = dict[str, Any]
KEPT_MAX = 50
"""So many callers' statuses are kept until something changes."""
Name = Annotated[str, Meta(max_length=200)]


class AskedStatus(Struct, frozen=True, forbid_unknown_fields=True):
    """`phase`: of the upgrade under way or waiting. With `limit`, so many services, and `next` leads to the others.
    `operation`: of this upgrade's service, and the upgrade with its journal."""

    environment: str | None = None
    service: str | None = None
    phase: Phase | None = None
    limit: cursor.Limit | None = None
    cursor: cursor.Cursor | None = None
    operation: Name | None = None


class After(Struct, frozen=True):
    environment: str
    service: str


class _Kept:
    """The statuses that were worked out since something changed last, by environment and what is seen."""

    def __init__(self) -> None:
        self.version: object = None
        self.found: dict[tuple[str | None, tuple[RoleGrant, ...] | None], tuple[Json, Encoded]] = {}


_KEPT: WeakKeyDictionary[Daemon, _Kept] = WeakKeyDictionary()


async def _status(daemon: Daemon, asked: AskedStatus, caller: Caller) -> object:
    if asked.operation is not None:
        return _of_operation(daemon, asked.operation, caller)
    whole, ready = status_for(daemon, asked.environment, caller)
    if asked.service is None and asked.phase is None and asked.limit is None and asked.cursor is None:
        return ready
    return _page(_chosen(whole, asked.service, asked.phase), asked)


def status_for(daemon: Daemon, environment: str | None, caller: Caller) -> tuple[Json, Encoded]:
    """What a caller sees of it all, or of one environment; worked out once as long as nothing changes."""
    kept = _KEPT.setdefault(daemon, _Kept())
    if (version := version_of(daemon.fleet)) != kept.version or len(kept.found) >= KEPT_MAX:
        kept.version, kept.found = version, {}
    everything = may(caller, "see", EVERYTHING)
    key = environment, None if everything else caller.grants
    if key not in kept.found:
        about = {"pid": os.getpid(), "version": __version__, "started_at": builtins(daemon.started_at)}
        whole = status_of(daemon.fleet, about, environment=environment) | {"next": None, "upgrade": None}
        shown = whole if everything else seen_status(whole, caller)
        kept.found[key] = shown, encoded(shown)
    return kept.found[key]


def _of_operation(daemon: Daemon, operation: str, caller: Caller) -> Json:
    upgrade = daemon.core.store.upgrade(operation)
    if upgrade is None or not sees_part_of(caller, Place(upgrade.environment, upgrade.service)):
        raise Missing(f"there is no operation {operation[:100]}", "see /upgrade/history")
    there = upgrade.environment in daemon.fleet.passes
    whole = status_for(daemon, upgrade.environment, caller)[0] if there else {}
    shown = _chosen(whole, upgrade.service, None) if there else status_for(daemon, None, caller)[0]
    return shown | {"upgrade": entry(daemon.core.store, upgrade)}


def _chosen(whole: Json, service: str | None, phase: Phase | None) -> Json:
    return whole | {
        "environments": [
            one
            | {
                "services": [
                    row
                    for row in one["services"]
                    if service in (None, row["service"]) and phase in (None, row["phase"])
                ]
            }
            for one in whole["environments"]
        ]
    }


def _page(whole: Json, asked: AskedStatus) -> Json:
    """So many services after the cursor; environments of which none is shown are left out but on the first page."""
    after, left = cursor.read(asked.cursor, After), asked.limit or cursor.LIMIT
    start = (after.environment, after.service) if after else ("", "")
    shown: list[Json] = []
    last: After | None = None
    more = False
    for one in whole["environments"]:
        rows = [row for row in one["services"] if (one["environment"], row["service"]) > start]
        more = more or len(rows) > left
        rows, left = rows[:left], max(0, left - len(rows))
        if rows:
            last = After(one["environment"], rows[-1]["service"])
        if rows or after is None:
            shown.append(one | {"services": rows})
    return whole | {"environments": shown, "next": cursor.written(last) if more else None}


def seen_status(whole: Json, caller: Caller) -> Json:
    """The status without what the caller may not see."""
    environments = [
        one | {"services": seen_rows(one["services"], caller, one["environment"])}
        for one in whole["environments"]
        if sees_part_of(caller, Place(one["environment"]))
    ]
    whole_ones = tuple(
        f"{one['environment']}: " for one in environments if may(caller, "see", Place(one["environment"]))
    )
    return whole | {
        "environments": environments,
        "needs_person": [sentence for sentence in whole["needs_person"] if sentence.startswith(whole_ones)],
        "errors": [],  # of files, which may be about anything
    }


def seen_rows(rows: Iterable[Json], caller: Caller, environment: str) -> list[Json]:
    """Those of an environment's rows whose service the caller sees."""
    return [row for row in rows if sees_part_of(caller, Place(environment, row["service"]))]


def sees_row(caller: Caller, row: Json) -> bool:
    """Whether the caller sees anything of the service that a row is about."""
    return sees_part_of(caller, Place(row["environment"], row["service"]))


async def _explain(daemon: Daemon, asked: Service, _caller: Caller) -> object:
    return explain_of(daemon.fleet, asked.environment, asked.service)


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "GET",
        "/upgrade/status",
        "What is pinned, what runs, and how it is.",
        "see",
        AskedStatus,
        _status,
        part=True,
        answers=StatusShape,
    ),
    Endpoint(
        "GET",
        "/upgrade/explain",
        "Why a service is not yet where its pin says.",
        "see",
        Service,
        _explain,
        answers=ExplainShape,
    ),
)
