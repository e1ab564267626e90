"""One upgrade: its journal as a timeline, with the commit that asked for it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from reconciler.api.entry import Missing
from reconciler.api.web.page import Pages, allowed
from reconciler.engine.journal import PHASES, phases_of
from reconciler.git.history import Commit
from reconciler.model.errors import UgsError
from reconciler.model.rights import Caller, Place, sees_part_of
from reconciler.model.sentence import of_move, title
from reconciler.model.upgrade import FINAL
from reconciler.store import AuditRow, Step

BAD = frozenset({"restoring", "reverting", "reverted", "restored", "stuck"})


class Moment(Struct, frozen=True):
    """One entry of the timeline. `after`: since the first one."""

    at: datetime
    after: timedelta
    kind: str
    """phase, step or word: what a person said, and everything else that was noted."""
    name: str
    outcome: str
    lasted: timedelta | None
    detail: str
    actor: str
    bad: bool


async def show(pages: Pages, request: Request, caller: Caller) -> Response:
    operation = request.path_params["operation"]
    store = pages.core.store
    upgrade = store.upgrade(operation)
    if upgrade is None or not sees_part_of(caller, Place(upgrade.environment, upgrade.service)):
        raise Missing("there is no such upgrade, or it is not yours to see", "look at the audit")
    commit, revert = await asyncio.gather(
        _commit(pages, upgrade.revision), _commit(pages, upgrade.revert_commit)
    )
    return await pages.render(
        request,
        caller,
        "upgrade.html",
        upgrade=upgrade,
        title=title(upgrade),
        sentence=of_move(upgrade),
        zone=pages.zone(upgrade.environment),
        moments=timeline(store.audit_of(operation), store.steps(operation)),
        stays=phases_of(store, operation),
        commit=commit,
        revert=revert,
        running=upgrade.phase not in FINAL,
        bad=upgrade.phase.value in BAD,
        may_operate=allowed(caller, "operate", upgrade.environment, upgrade.service),
        newest=next(
            (
                one.operation
                for one in store.upgrades(environment=upgrade.environment, service=upgrade.service, limit=1)
            ),
            "",
        ),
    )


def timeline(rows: list[AuditRow], steps: list[Step]) -> list[Moment]:
    """What was noted of an upgrade and what was done in it, as it came."""
    first = min((*(row.at for row in rows), *(step.started_at for step in steps)), default=None)
    if first is None:
        return []
    noted = [
        Moment(
            row.at,
            row.at - first,
            "phase" if row.event in PHASES else "word",
            row.event,
            "",
            None,
            row.detail,
            "" if row.actor == "ugs" else row.actor,
            row.event in BAD,
        )
        for row in rows
    ]
    done = [
        Moment(
            step.started_at,
            step.started_at - first,
            "step",
            step.step,
            step.outcome or "under way",
            step.ended_at - step.started_at if step.ended_at else None,
            step.detail,
            "",
            step.outcome == "failed",
        )
        for step in steps
    ]
    return sorted([*noted, *done], key=lambda moment: moment.at)


async def _commit(pages: Pages, sha: str | None) -> Commit | None:
    """The commit, where it is here."""
    if not sha:
        return None
    try:
        return await asyncio.to_thread(pages.core.repository.mirror.described, sha)
    except UgsError:
        return None
