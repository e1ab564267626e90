"""Forms that browsers send, and whether it was a page of ours that sent them."""

from __future__ import annotations

import asyncio
import hmac
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import ClientDisconnect, Request

from reconciler.api.endpoint import BODY_BYTES_MAX, BODY_S, BadRequest, TooLarge, TooSlow
from reconciler.api.entry import Denied
from reconciler.api.identity import COOKIE
from reconciler.api.web.page import csrf_of

FIELDS_MAX = 50
KIND = "application/x-www-form-urlencoded"


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, those that are not empty. Raises BadRequest, TooLarge, TooSlow."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != KIND:
        raise BadRequest(f"a form is sent as {KIND}", "use the page's own form")
    data = b""
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                data += chunk
                if len(data) > BODY_BYTES_MAX:
                    raise TooLarge(f"a form is at most {BODY_BYTES_MAX} bytes", "write less")
    except (TimeoutError, ClientDisconnect) as error:
        raise TooSlow("the form did not arrive in time", "send it again") from error
    try:
        return dict(parse_qsl(data.decode("utf-8"), strict_parsing=bool(data), max_num_fields=FIELDS_MAX))
    except ValueError as error:
        raise BadRequest(f"this is no form: {error}", "use the page's own form") from error


def check_origin(request: Request) -> None:
    """Raise Denied where the browser says that another site's page sent this. Browsers say it of every form that
    is posted; a program that says nothing has no cookies that somebody else could use."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    elsewhere = site not in (None, "same-origin", "none") or (
        site is None and origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    )
    if elsewhere:
        raise Denied("another site's page sent this form", "open the dashboard, and say it there")


def check_form(request: Request, fields: dict[str, str]) -> None:
    """Raise Denied unless a page of this session sent it."""
    check_origin(request)
    own = csrf_of(request.cookies.get(COOKIE, ""))
    if not own or not hmac.compare_digest(own.encode(), fields.get("csrf", "").encode()):
        raise Denied("this form is of another session", "load the page again, and send it once more")
