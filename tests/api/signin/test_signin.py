"""People who sign in at a provider: a real daemon, a real provider."""

from __future__ import annotations

import asyncio
import html
import json
import re
import urllib.parse
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.requests import Request

from reconciler.api.door import Door
from reconciler.api.identity import Unknown
from reconciler.api.signin import HINT, HINT_CHARS_MAX, SignIn, own_path
from reconciler.api.web.page import Pages
from reconciler.model.people import Registration
from reconciler.oidc import Issuer
from reconciler.store import Store
from tests.api.signin.browser import Browser, signed_in, went
from tests.api.signin.conftest import ADA
from tests.api.test_routes import ask
from tests.daemon_process import DaemonProcess
from tests.moved_clock import MovedClock
from tests.oidc.provider import CLIENT_ID, Provider
from tests.world import World


def test_who_signs_in_may_do_what_his_groups_may(served: DaemonProcess, base: str, fleet: World) -> None:
    browser = Browser()
    back = went(base, browser, "/login/oidc?next=/upgrade/status%3Fenvironment=production")
    arrived = browser.get(back)
    assert (arrived.status, arrived.location) == (303, "/upgrade/status?environment=production")
    assert all("HttpOnly" in one and "SameSite=lax" in one for one in browser.set)
    assert browser.cookies["ugs_signin"] == ""
    status = browser.get(base + arrived.location)
    assert status.status == 200
    assert '"api"' in status.text
    assert browser.get(f"{base}/tokens").status == 403
    store = Store(fleet.state / "ugs.db", now=lambda: pytest.fail("nobody asks"), read_only=True)
    try:
        rows = [row for row in store.audit_rows(limit=50) if row.event == "signed-in"]
    finally:
        store.close()
    assert [row.actor for row in rows] == ["ada@example.org"]


def test_from_a_page_to_the_provider_and_back_to_it_and_out(served: DaemonProcess, base: str) -> None:
    browser = Browser()
    asked = browser.get(f"{base}/ui/plan")
    assert (asked.status, asked.location) == (303, "/login?next=/ui/plan")
    [link] = re.findall(r'href="(/login/oidc[^"]*)"', browser.get(base + asked.location).text)
    arrived = browser.get(went(base, browser, html.unescape(link)))
    assert (arrived.status, arrived.location) == (303, "/ui/plan")
    page = browser.get(base + arrived.location)
    assert "ada@example.org" in page.text
    [csrf] = set(re.findall(r'name="csrf" value="([^"]+)"', page.text))
    held = {"csrf": csrf, "environment": "production", "reason": "move", "back": "/"}
    assert browser.get(f"{base}/ui/act/holds", held).status == 303
    [hold] = ask(served, "GET", "/holds").body["holds"]
    assert hold["owner"] == "ada@example.org"
    assert ask(served, "POST", "/holds/release", {"id": hold["id"]}).status == 200
    kept = dict(browser.cookies)
    assert browser.get(f"{base}/logout", {"csrf": csrf}).status == 303
    browser.cookies = kept
    assert browser.get(f"{base}/upgrade/status").status == 401


def test_a_browser_that_signed_in_is_told_how_every_part_is(served: DaemonProcess, base: str) -> None:
    browser = Browser()
    assert json.loads(browser.get(f"{base}/health/check").text)["parts"] is None
    signed_in(base, browser)
    told = json.loads(browser.get(f"{base}/health/check").text)
    assert [one["environment"] for one in told["environments"]] == ["production"]
    assert {"git", "database", "engine"} <= {one["part"] for one in told["parts"]}
    browser.cookies["ugs_session"] = "of yesterday"
    anybody = browser.get(f"{base}/health/check")
    assert (anybody.status, json.loads(anybody.text)["parts"]) == (200, None)


def csrf_of(browser: Browser, base: str) -> str:
    [csrf] = set(re.findall(r'name="csrf" value="([^"]+)"', browser.get(f"{base}/").text))
    return str(csrf)


def test_who_signs_out_is_signed_out_at_the_provider_too(
    served: DaemonProcess, base: str, provider: Provider
) -> None:
    browser = Browser()
    signed_in(base, browser)
    hint = browser.cookies[HINT]
    assert next(one for one in browser.set if one.startswith(HINT)).count("Path=/login/end") == 1
    lured = browser.get(f"{base}/login/end")  # by somebody's link
    assert (lured.status, lured.location, provider.ended) == (303, "/", [])
    browser.cookies[HINT] = hint  # which went nowhere
    left = browser.get(f"{base}/logout", {"csrf": csrf_of(browser, base)})
    assert (left.status, left.location) == (303, "/login/end")
    page = browser.get(base + left.location)
    assert page.status == 200
    assert browser.cookies[HINT] == ""
    [url] = re.findall(r'content="0; url=([^"]+)"', page.text)
    back = browser.get(html.unescape(url))
    assert (back.status, back.location) == (302, f"{base}/login")
    [ended] = provider.ended
    assert ended == {
        "id_token_hint": hint,
        "client_id": CLIENT_ID,
        "post_logout_redirect_uri": f"{base}/login",
    }


def test_a_token_that_no_cookie_holds_is_not_kept_and_signing_out_goes_on_without(
    served: DaemonProcess, base: str, provider: Provider
) -> None:
    provider.people["ada"] = ADA | {"motto": "x" * HINT_CHARS_MAX}
    browser, before = Browser(), len(provider.ended)
    signed_in(base, browser)
    assert HINT not in browser.cookies
    assert browser.get(f"{base}/logout", {"csrf": csrf_of(browser, base)}).location == "/login/end"
    [url] = re.findall(r'content="0; url=([^"]+)"', browser.get(f"{base}/login/end").text)
    browser.get(html.unescape(url))
    assert provider.ended[before].keys() == {"client_id", "post_logout_redirect_uri"}


def test_rights_may_stand_beside_the_token(served: DaemonProcess, base: str, provider: Provider) -> None:
    provider.thin = True
    browser = Browser()
    signed_in(base, browser)
    assert browser.get(f"{base}/upgrade/status").status == 200
    assert "/userinfo" in provider.asked
    provider.people["ada"] = ADA | {"sub": "somebody else"}
    assert browser.get(went(base, browser)).status == 401


def test_whom_nobody_gave_a_role_is_told_what_to_do(
    served: DaemonProcess, base: str, provider: Provider
) -> None:
    provider.who = "sid"
    browser = Browser()
    arrived = browser.get(went(base, browser))
    assert arrived.status == 403
    assert arrived.text.startswith("<!doctype html>")
    assert "sid@example.org is known to the provider, and has no role here" in arrived.text
    assert "`people` in ugs.yaml" in arrived.text
    assert "ugs_session" not in browser.cookies
    provider.people["sid"] = {"email": "ada@example.org", "email_verified": False}
    arrived = browser.get(went(base, browser))
    assert arrived.status == 401
    assert "not verified" in arrived.text


def test_a_sign_in_belongs_to_the_browser_that_began_it_and_is_used_once(
    served: DaemonProcess, base: str
) -> None:
    mine, other = Browser(), Browser()
    back = went(base, mine)
    assert other.get(back).status == 401  # without the cookie
    went(base, other)
    assert other.get(back).status == 401  # with the cookie of another sign-in
    kept = dict(mine.cookies)
    assert mine.get(back).status == 303
    mine.cookies |= kept
    replayed = mine.get(back)  # with its cookie
    assert (replayed.status, "this sign-in is over" in replayed.text) == (401, True)
    mine.cookies = {"ugs_signin": kept["ugs_signin"][:-1] + "0"}
    assert mine.get(back).status == 401  # forged
    mine.cookies = {"ugs_signin": "x." * 2_000}
    assert mine.get(back).status == 401


def test_a_sign_in_that_took_too_long_is_over(base: str, provider: Provider) -> None:
    clock = MovedClock()
    at = Registration(
        provider.issuer, CLIENT_ID, CLIENT_ID, redirect_uri="https://ugs.example/login/callback"
    )
    door = SimpleNamespace(daemon=SimpleNamespace(core=SimpleNamespace(clock=clock)))
    own = SignIn(cast(Door, door), cast(Pages, None), Issuer(at, clock), "https://ugs.example/login/callback")

    async def story() -> None:
        left = await own.leave(Request({"type": "http", "query_string": b"", "headers": []}))
        cookie = left.headers["set-cookie"]
        assert cookie.startswith("__Host-ugs_signin=")  # over https no neighbour can put his own there
        assert "; Secure" in cookie
        state = urllib.parse.parse_qs(urllib.parse.urlsplit(left.headers["location"]).query)["state"][0]
        headers = [(b"cookie", cookie.partition(";")[0].encode())]
        back = {"type": "http", "query_string": f"state={state}&code=x".encode(), "headers": headers}
        clock.move(timedelta(minutes=11))
        with pytest.raises(Unknown, match=r"this sign-in is over"):
            await own.arrive(Request(back))

    asyncio.run(story())


def test_a_code_is_good_for_one_sign_in(served: DaemonProcess, base: str, provider: Provider) -> None:
    """Somebody else's code, put into my own sign-in, meets PKCE and the nonce."""
    victim, attacker = Browser(), Browser()
    stolen = urllib.parse.parse_qs(urllib.parse.urlsplit(went(base, victim)).query)["code"][0]
    own = urllib.parse.urlsplit(went(base, attacker))
    query = urllib.parse.parse_qs(own.query) | {"code": [stolen]}
    mixed = own._replace(query=urllib.parse.urlencode(query, doseq=True)).geturl()
    assert attacker.get(mixed).status == 401
    # The provider itself takes a code once, and only for the sign-in that it was given for.
    browser = Browser()
    back = went(base, browser)
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(back).query)["code"][0]
    del provider.codes[code]
    arrived = browser.get(back)
    assert arrived.status == 401
    assert "does not take this code" in arrived.text


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": [CLIENT_ID, "another"]},
        {"azp": "another"},
        {"iss": "http://evil.example"},
        {"exp": 1},
    ],
)
def test_a_token_of_another_sign_in_lets_nobody_in(
    served: DaemonProcess, base: str, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.token_claims = claims
    browser = Browser()
    assert browser.get(went(base, browser)).status == 401
    assert "ugs_session" not in browser.cookies


def test_what_the_provider_says_on_the_way_back_is_looked_at(
    served: DaemonProcess, base: str, provider: Provider
) -> None:
    browser = Browser()
    for more, told in (
        ("&error=access_denied%00%0a", "did not let you in: access_denied"),
        ("&code=", "sent no code"),
        ("&iss=http://evil.example&code=x", "of another provider"),
        ("&code=guessed", "does not take this code"),
    ):
        state = urllib.parse.parse_qs(urllib.parse.urlsplit(went(base, browser)).query)["state"][0]
        arrived = browser.get(f"{base}/login/callback?state={state}{more}")
        assert arrived.status == 401
        assert told in arrived.text
    assert browser.get(f"{base}/login/callback").status == 401
    assert browser.get(f"{base}/login/callback?state=%FF&code=%FF").status == 401
    assert browser.get(f"{base}/login/oidc?next=//evil.example").status == 303


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/", "/"),
        ("/services/api?tab=history#x", "/services/api?tab=history#x"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/x\\..\\evil", "/"),
        ("https://evil.example", "/"),
        ("/\tx", "/"),
        ("/\r\nSet-Cookie: a=b", "/"),
        ("/ü", "/"),
        ("/" + "x" * 500, "/"),
    ],
)
def test_nobody_is_led_elsewhere(text: str, path: str) -> None:
    assert own_path(text) == path
