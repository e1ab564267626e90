"""What can be done from a page: the API's own endpoints, asked by a form instead of JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from reconciler.api import flags, permits, recovery, upgrades
from reconciler.api.endpoint import BadRequest, Endpoint
from reconciler.api.entry import enter
from reconciler.api.identity import Unknown, signed_in
from reconciler.api.rates import OF_A_CALLER
from reconciler.api.web.form import check_form, form_of
from reconciler.api.web.page import Pages, ours
from reconciler.model.codec import convert

SAYS: Mapping[str, str] = {
    "/approvals": "approved",
    "/approvals/withdraw": "withdrawn",
    "/flags/set": "flag",
    "/flags/unset": "flag",
    "/holds": "held",
    "/holds/release": "released",
    "/overrides/confirm": "confirmed",
    "/quarantine/release": "quarantine",
    "/upgrade/execute": "started",
    "/upgrade/retry": "retry",
    "/upgrade/rollback": "rollback",
}
"""By path of the API: what the page says then (page.py)."""
ENDPOINTS: dict[str, Endpoint[Any]] = {
    one.path: one
    for one in (*upgrades.ENDPOINTS, *recovery.ENDPOINTS, *permits.ENDPOINTS, *flags.ENDPOINTS)
    if one.method == "POST" and one.path in SAYS
}


def routes(pages: Pages) -> Sequence[BaseRoute]:
    return [_route(pages, endpoint) for endpoint in ENDPOINTS.values()]


def _route(pages: Pages, endpoint: Endpoint[Any]) -> Route:
    async def act(request: Request) -> Response:
        """Do it as the API would, and lead back to where the form was."""
        caller = signed_in(pages.core, request)
        if caller is None:
            raise Unknown("nobody is signed in here", "sign in, and say it again")
        request.state.caller = caller
        pages.door.rates.take(f"token {caller.token or caller.name}", OF_A_CALLER)
        fields = await form_of(request)
        check_form(request, fields)
        asked = {name: value for name, value in fields.items() if name not in ("csrf", "back")}
        try:
            wanted = convert(asked, endpoint.asks, strict=False)
        except msgspec.ValidationError as error:
            raise BadRequest(str(error), "fill in what is missing, and send it again") from error
        enter(pages.daemon, endpoint, wanted, caller)
        await pages.door.done(endpoint, wanted, caller)
        back = urlsplit(ours(fields.get("back", "/"))).path
        return RedirectResponse(f"{back}?said={SAYS[endpoint.path]}", 303)

    return Route(f"/ui/act{endpoint.path}", pages.guarded(act), methods=["POST"])
