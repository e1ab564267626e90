"""The audit log, with search."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from reconciler.api.events import row_seen
from reconciler.api.web.page import Pages
from reconciler.model.rights import Caller, Place, sees_part_of
from reconciler.store.pages import Mark, Past

ROWS_MAX = 100
FIELDS = ("environment", "service", "event", "actor", "operation", "text")


async def show(pages: Pages, request: Request, caller: Caller) -> Response:
    """The newest rows that fit; `?before=` goes on from the row of that number."""
    asked = {name: request.query_params.get(name, "").strip()[:200] for name in FIELDS}
    before = request.query_params.get("before", "")
    after = Mark("", int(before)) if before.isascii() and before.isdigit() and len(before) < 16 else None
    past = Past(**{name: value or None for name, value in asked.items()})
    rows, more = pages.core.store.audit_page(
        past, after, limit=ROWS_MAX, seen=lambda row: row_seen(caller, row)
    )
    environments = [name for name in sorted(pages.fleet.passes) if sees_part_of(caller, Place(name))]
    return await pages.render(
        request,
        caller,
        "audit.html",
        rows=rows,
        asked=asked,
        older=more.row if more else None,
        paged=after is not None,
        environments=environments,
        zones={name: pages.zone(name) for name in environments},
    )
