"""The first page: services by environments, what needs somebody, and what has just happened."""

from __future__ import annotations

from collections import Counter
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from reconciler.api.entry import Missing
from reconciler.api.events import ADMINISTRATION, row_seen
from reconciler.api.web.cell import Column, columns
from reconciler.api.web.page import Pages
from reconciler.engine.attention import needs_person
from reconciler.model.rights import EVERYTHING, Caller, Place, may

SHOWN_MAX = 6
"""So many lines of each list; the others are counted."""
LATEST_MAX = 6
LOOKED_MAX = 100
"""So many rows of the audit are looked through for those that are the caller's to see."""
ROWS_MAX = 5_000
ASKED_MAX = 100


async def show(pages: Pages, request: Request, caller: Caller) -> Response:
    """With `?q=` only services with that in their names; with `?only=attention` only those that are not at rest."""
    wanted, only = request.query_params.get("q", "").strip(), request.query_params.get("only", "")
    found = columns(pages.fleet, caller)
    services = sorted({service for column in found for service in column.cells})
    chosen = [service for service in services if wanted.casefold() in service.casefold()]
    if only == "attention":
        chosen = [
            service
            for service in chosen
            if any(not one.cells[service].restful for one in found if service in one.cells)
        ]
    return await pages.render(
        request,
        caller,
        "matrix.html",
        columns=found,
        services=chosen[:ROWS_MAX],
        left_out=max(0, len(chosen) - ROWS_MAX),
        total=len(services),
        q=wanted,
        only=only,
        **overview(pages, caller, found),
    )


async def cells(pages: Pages, request: Request, caller: Caller) -> Response:
    """Some cells of one environment, or all, and what stands above them: what a page that is open puts in place of
    its own. Without an environment, only what stands above."""
    environment, services = (
        request.query_params.get("environment", ""),
        request.query_params.getlist("service"),
    )
    found = columns(pages.fleet, caller)
    here = {one.name: one.cells for one in found}
    if environment and environment not in here:
        raise Missing(f"there is no environment {environment[:100]}", "load the page again")
    known = here.get(environment, {})
    asked = services[:ASKED_MAX] or list(known)
    chosen = [known[service] for service in asked if service in known]
    return await pages.render(
        request, caller, "cells.html", columns=found, chosen=chosen, **overview(pages, caller, found)
    )


def overview(pages: Pages, caller: Caller, found: list[Column]) -> dict[str, Any]:
    """What stands above the matrix."""
    every = [cell for column in found for cell in column.cells.values()]
    trouble = [cell for cell in every if cell.shape == "bad" and cell.word != "waits"]
    active = [*trouble, *(cell for cell in every if cell.shape == "moving")]
    waiting = [cell for cell in every if cell.word == "waits"]
    needs = [text for text in needs_person(pages.fleet) if _seen(text, caller, found)]
    rows = pages.daemon.news.latest(LOOKED_MAX)
    latest = [row for row in rows if row_seen(caller, row) and not row.event.startswith(ADMINISTRATION)]
    return {
        "counts": Counter(cell.shape for cell in every),
        "active": active[:SHOWN_MAX],
        "active_more": max(0, len(active) - SHOWN_MAX),
        "waiting": waiting[:SHOWN_MAX],
        "waiting_more": max(0, len(waiting) - SHOWN_MAX),
        "needs": needs[:SHOWN_MAX],
        "needs_more": max(0, len(needs) - SHOWN_MAX),
        "latest": latest[:LATEST_MAX],
        "zones": {column.name: column.zone for column in found},
        "repository": pages.fleet.sentence,
        "repository_ok": pages.fleet.state in ("ok", "starting"),
        "fetched_at": pages.fleet.core.desired.fetched_at,
    }


def _seen(text: str, caller: Caller, found: list[Column]) -> bool:
    """Whether a sentence is about what the caller sees all of."""
    if may(caller, "see", EVERYTHING):
        return True
    return any(text.startswith(f"{one.name}: ") and may(caller, "see", Place(one.name)) for one in found)
