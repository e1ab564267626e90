"""Signing in and out."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from reconciler.api.identity import (
    COOKIE,
    Unknown,
    begin_session,
    holder_of,
    set_session,
    signed_in,
)
from reconciler.api.rates import OF_A_STRANGER
from reconciler.api.web.form import check_form, check_origin, form_of
from reconciler.api.web.page import Pages, ours
from reconciler.model.people import END, LEAVE

AGAIN = "That token is unknown, expired or revoked."


def routes(pages: Pages) -> Sequence[BaseRoute]:
    async def login(request: Request) -> Response:
        """The form, and what is sent by it."""
        if request.method == "GET":
            back = ours(request.query_params.get("next", "/"))
            return await _form(pages, request, back)
        check_origin(request)
        address = f"address {request.client.host if request.client else 'a socket'}"
        pages.door.rates.look(address, OF_A_STRANGER)
        fields = await form_of(request)
        back = ours(fields.get("next", "/"))
        try:
            caller = holder_of(pages.core, fields.get("token", "").strip())
        except Unknown as error:
            pages.door.rates.take(address, OF_A_STRANGER)
            pages.door.denials.remember(request, "", error)
            return await _form(pages, request, back, status=403, wrong=AGAIN)
        answer = RedirectResponse(back, 303)
        set_session(request, answer, begin_session(pages.core, caller, detail=f"with token {caller.token}"))
        return answer

    async def logout(request: Request) -> Response:
        caller = signed_in(pages.core, request)
        answer = RedirectResponse("/login", 303)
        if caller is not None and caller.session is not None:
            check_form(request, await form_of(request))
            pages.core.store.end_session(caller.session)
            if caller.token is None:  # a provider vouched for him, and knows him still
                answer = RedirectResponse(END, 303)
        answer.delete_cookie(COOKIE, path="/")
        return answer

    return [
        Route("/login", pages.guarded(login), methods=["GET", "POST"]),
        Route("/logout", pages.guarded(logout), methods=["POST"]),
    ]


async def _form(pages: Pages, request: Request, back: str, *, status: int = 200, wrong: str = "") -> Response:
    oidc = pages.core.settings.oidc
    provider = LEAVE if oidc and oidc.at.redirect_uri else ""
    return await pages.render(
        request, None, "login.html", status=status, next=back, wrong=wrong, provider=provider
    )
