"""One service: why it is not yet where its pin says, what it was, how it is, and what one may do about it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from reconciler.api.entry import Missing
from reconciler.api.web import probes
from reconciler.api.web.cell import cell_of
from reconciler.api.web.page import Pages, allowed
from reconciler.engine import permits
from reconciler.engine.status import explain_of
from reconciler.engine.view import ServiceView
from reconciler.model.errors import UgsError
from reconciler.model.notes import between
from reconciler.model.permits import starter
from reconciler.model.persons import same_person
from reconciler.model.release import Release
from reconciler.model.rights import Caller, Place, sees_part_of

HISTORY_MAX = 15
RELEASES_MAX = 20
LINES_MAX = 80
LINE_CHARS_MAX = 500
LOGS_S = 2.0
LOGS_AT_ONCE_MAX = 4
"""An engine that does not answer holds so many threads at the most."""


async def show(pages: Pages, request: Request, caller: Caller) -> Response:
    environment, service = request.path_params["environment"], request.path_params["service"]
    view = _view(pages, caller, environment, service)
    core, now = pages.core, pages.core.clock.now()
    history = probes.drawn(pages, environment, service, request.query_params.get("span", ""))
    may_operate = allowed(caller, "operate", environment, service)
    may_approve = allowed(caller, "approve", environment, service)
    logs, logs_trouble = await _logs(pages, environment, service) if may_operate else ([], "")
    in_force = permits.in_force(pages.fleet, environment)
    quarantined = [row for row in core.store.quarantined(environment) if row.service == service]
    explained = explain_of(pages.fleet, environment, service)
    return await pages.render(
        request,
        caller,
        "service.html",
        environment=environment,
        service=service,
        zone=pages.zone(environment),
        view=view,
        cell=cell_of(environment, view),
        explained=explained,
        shut=[gate for gate in view.gates if not gate.open],
        starts_at=_instant(explained["starts_at"]),
        steps=[step | {"starts_at": _instant(step["starts_at"])} for step in explained["steps"]],
        holds=[
            hold
            for hold in in_force.holds
            if hold.service in (None, service) and (hold.until is None or now < hold.until)
        ],
        startable=_startable(pages, view, environment),
        overrides=[one for one in in_force.overrides if one.service in (None, service)],
        may_confirm={
            one.id
            for one in in_force.overrides
            if one.confirmed_by is None
            and not same_person(one.by, caller.name)
            and allowed(caller, "approve", environment, one.service)
        },
        approvals=[one for one in in_force.approvals if one.ask.service == service],
        quarantined=quarantined,
        upgrades=core.store.upgrades(environment=environment, service=service, limit=HISTORY_MAX),
        releases=_releases(pages, environment, view),
        drawn=history,
        transitions=list(reversed(history.transitions))[:HISTORY_MAX],
        **probes.about(),
        logs=logs,
        logs_trouble=logs_trouble,
        may_operate=may_operate,
        may_approve=may_approve,
        may_release={
            hold.id for hold in in_force.holds if allowed(caller, "operate", environment, hold.service)
        },
        approvable=any(gate.gate == "approval" and not gate.open for gate in view.gates),
    )


def _view(pages: Pages, caller: Caller, environment: str, service: str) -> ServiceView:
    """Raises Missing, alike for what is not there and what is not the caller's to see."""
    here = pages.fleet.passes.get(environment)
    if here is None or not sees_part_of(caller, Place(environment, service)):
        raise Missing("there is no such service, or it is not yours to see", "look at the first page")
    found = here.views().get(service)
    if found is None:
        raise Missing("there is no such service, or it is not yours to see", "look at the first page")
    return found


def _startable(pages: Pages, view: ServiceView, environment: str) -> bool:
    """Whether a change is planned that a person may start: one that waits for nothing but the next pass, or for him."""
    by_hand = starter(environment, view.service)
    shut = [gate for gate in view.gates if not gate.open]
    return view.service in pages.fleet.passes[environment].told and all(
        gate.gate == "window" and gate.opened_by == by_hand for gate in shut
    )


def _releases(pages: Pages, environment: str, view: ServiceView) -> list[Release]:
    """Those between what runs and what is pinned, newest first; of a service at rest the one that runs."""
    desired = pages.core.desired.get(environment)
    known = desired.releases.get(view.service, {}) if desired else {}
    goal = view.pinned or view.running
    if goal is None:
        return []
    newest_first = [known[version] for version in sorted(known, reverse=True)]
    before = view.running.version if view.running and view.running.version != goal.version else None
    return list(between({view.service: newest_first}, view.service, before, goal.version))[:RELEASES_MAX]


async def _logs(pages: Pages, environment: str, service: str) -> tuple[list[str], str]:
    """The last lines that it wrote; and why there are none."""
    core = pages.core
    if len(pages.reading) >= LOGS_AT_ONCE_MAX:
        return [], "others are reading logs at this moment: load the page again"
    driver, site = core.driver(environment), core.site_of(environment)
    reading = asyncio.ensure_future(
        core.drive(environment, driver.logs, site, environment, service, lines=LINES_MAX)
    )
    pages.reading.add(reading)
    reading.add_done_callback(pages.reading.discard)
    done, _ = await asyncio.wait([reading], timeout=LOGS_S)
    if not done:
        reading.add_done_callback(lambda late: late.cancelled() or late.exception())
        return [], f"they could not be read within {LOGS_S:.0f} s"
    try:
        lines = reading.result()
    except UgsError as error:
        return [], str(error)
    return [line[:LINE_CHARS_MAX] for line in lines], ""


def _instant(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
