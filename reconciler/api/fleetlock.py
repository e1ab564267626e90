"""A FleetLock server: machines that reboot for their updates share slots with services that are being upgraded."""

from __future__ import annotations

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler.engine.core import Core
from reconciler.model.codec import decode, encode
from reconciler.model.errors import UgsError
from reconciler.model.slots import HEADER, PRE_REBOOT, STEADY_STATE, Body, Refusal, refusal

BODY_BYTES_MAX = 16 << 10


def fleetlock(core: Core) -> Starlette:
    """The two paths of the published protocol, and nothing else. It runs on the daemon's own loop."""

    async def asked(request: Request) -> Response:
        body = await _body(request)
        if isinstance(body, Refusal):
            return _refused(body, 400)
        client, limit = body.client_params, core.settings.fleetlock.groups.get(body.client_params.group)
        if limit is None and (unknown := refusal(client.group, (), client.id, None)):
            return _refused(unknown, 400)
        try:
            if request.url.path == STEADY_STATE:
                core.store.give_slot_back(client.group, client.id)
                return Response(status_code=200)
            full = core.store.take_slot(client.group, client.id, limit)
        except UgsError as error:
            return _refused(Refusal("internal_error", error.message), 500)
        return _refused(full, 409) if full else Response(status_code=200)

    return Starlette(routes=[Route(path, asked, methods=["POST"]) for path in (PRE_REBOOT, STEADY_STATE)])


async def _body(request: Request) -> Body | Refusal:
    if request.headers.get(HEADER) != "true":
        return Refusal("missing_header", f"send the header `{HEADER}: true`")
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_BYTES_MAX:
            return Refusal("bad_body", f"the body is larger than {BODY_BYTES_MAX} bytes")
    try:
        return decode(data, Body)
    except msgspec.MsgspecError as error:
        return Refusal("bad_body", str(error))


def _refused(why: Refusal, status: int) -> Response:
    return Response(encode(why), status_code=status, media_type="application/json")
