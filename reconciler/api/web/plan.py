"""What would change: now, and by an open branch were it merged."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from reconciler.api.web.page import Pages
from reconciler.engine.branches import Proposed
from reconciler.git.history import Commit
from reconciler.model.errors import Problem, UgsError
from reconciler.model.gates import closed, starts_at
from reconciler.model.planned import Pinned, Planned
from reconciler.model.rights import EVERYTHING, Caller, Place, may, sees_part_of

CHANGES_MAX = 200
NAME_CHARS_MAX = 200


class Shown(Struct, frozen=True):
    """What a branch would change, as far as the caller may see it."""

    changes: list[Planned]
    left_out: int
    added: list[Pinned]
    removed: list[Pinned]
    settings: list[tuple[str, str]]
    problems: list[Problem]
    commits: list[Commit]
    """Which may be about anything, and are so for those who see everything."""


async def show(pages: Pages, request: Request, caller: Caller) -> Response:
    """`?branch=` shows what that branch would change; without, what is planned at this moment."""
    name = request.query_params.get("branch", "").strip()[:NAME_CHARS_MAX]
    names: tuple[str, ...] = ()
    proposed, trouble = None, None
    try:
        names = await pages.branches.names()
        if name:
            proposed = await pages.branches.proposed(name)
    except UgsError as error:
        trouble = error
    planned = [
        (here.name, change, closed(gates), starts_at(gates, now=pages.core.clock.now()))
        for _, here in sorted(pages.fleet.passes.items())
        for _, (change, gates) in sorted(here.told.items())
        if sees_part_of(caller, Place(here.name, change.service))
    ]
    return await pages.render(
        request,
        caller,
        "plan.html",
        planned=planned[:CHANGES_MAX],
        left_out=max(0, len(planned) - CHANGES_MAX),
        zones={name: pages.zone(name) for name in pages.fleet.passes},
        names=names,
        name=name,
        proposed=proposed,
        shown=_shown(proposed, caller) if proposed else None,
        trouble=trouble,
        closed=closed,
        tip=pages.fleet.tip or "",
    )


def _shown(proposed: Proposed, caller: Caller) -> Shown:
    preview, whole = proposed.preview, may(caller, "see", EVERYTHING)

    def sees(environment: str, service: str) -> bool:
        return sees_part_of(caller, Place(environment, service))

    changes = [one for one in preview.changes if sees(one.change.environment, one.change.service)]
    return Shown(
        changes=changes[:CHANGES_MAX],
        left_out=max(0, len(changes) - CHANGES_MAX),
        added=[one for one in preview.added if sees(one.environment, one.service)],
        removed=[one for one in preview.removed if sees(one.environment, one.service)],
        settings=[one for one in preview.settings if may(caller, "see", Place(one[0]))],
        problems=list(preview.problems) if whole else [],
        commits=proposed.commits if whole else [],
    )
