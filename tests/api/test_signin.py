"""People who sign in at a provider, and machines that show its tokens: a real daemon, a real provider."""

from __future__ import annotations

import asyncio
import html
import http.client
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from datetime import timedelta
from http.cookies import SimpleCookie
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from starlette.requests import Request

from reconciler.api.door import Door
from reconciler.api.identity import Unknown
from reconciler.api.signin import SignIn, own_path
from reconciler.model.people import Registration
from reconciler.oidc import Issuer
from reconciler.store import Store
from tests.api.network import call, token_for
from tests.api.test_routes import ask
from tests.daemon_process import DaemonProcess, daemon
from tests.drivers.services import free_port, wait_until
from tests.moved_clock import MovedClock
from tests.oidc.provider import CLIENT_ID, CLIENT_SECRET, Provider, a_provider, listening
from tests.world import World, a_world

PEOPLE = """\
people:
  - {group: sre, role: operator, environments: ["prod*"]}
  - {group: sre, role: viewer}
  - {user: "eve@example.org", role: approver}
  - {user: "repo:org/*@example.org", role: viewer, environments: [production]}
"""
AUDIENCE = "https://ugs.example"
ADA: dict[str, Any] = {"email": "Ada@example.org", "email_verified": True, "groups": ["sre", "dev"]}


class Page(NamedTuple):
    status: int
    location: str
    text: str


class Browser:
    """Keeps cookies, and follows nothing by itself."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}
        self.set: list[str] = []

    def get(self, url: str, form: Mapping[str, str] | None = None) -> Page:
        """What is there; with a form, what is answered to it."""
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        try:
            path = url.partition(f"{parts.netloc}")[2]
            if form is None:
                connection.request("GET", path, headers=cookie)
            else:
                kind = {"Content-Type": "application/x-www-form-urlencoded"}
                connection.request("POST", path, urllib.parse.urlencode(form), {**cookie, **kind})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        self.set = [value for name, value in answer.getheaders() if name.lower() == "set-cookie"]
        for one in self.set:
            for name, morsel in SimpleCookie(one).items():
                self.cookies[name] = morsel.value
        return Page(answer.status, answer.headers.get("Location", ""), text)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def base(port: int) -> str:
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def provider(base: str) -> Iterator[Provider]:
    with a_provider(free_port(), f"{base}/login/callback") as running:
        yield running


@pytest.fixture(scope="module")
def ci() -> Iterator[Provider]:
    """Another provider: that of a CI, which vouches for machines."""
    with a_provider(free_port()) as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_was(provider: Provider) -> None:
    provider.people = {"ada": ADA, "eve": {"email": "eve@example.org"}, "sid": {"email": "sid@example.org"}}
    provider.who, provider.thin = "ada", False
    provider.metadata, provider.token_claims = {}, {}


@pytest.fixture(scope="module")
def fleet(
    tmp_path_factory: pytest.TempPathFactory, port: int, provider: Provider, ci: Provider
) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("signin")) as world:
        secret = world.folder / "client-secret"
        secret.write_text(CLIENT_SECRET)
        secret.chmod(0o600)
        world.settings_more = (
            f'listen: "127.0.0.1:{port}"\n'
            f'oidc: {{issuer: "{provider.issuer}", client_id: {CLIENT_ID}, client_secret: {{file: "{secret}"}},'
            f' redirect_uri: "{provider.client.redirect_uri}"}}\n'
            f'machines: [{{issuer: "{ci.issuer}", audience: "{AUDIENCE}"}}]\n'
            f'{PEOPLE}  - {{user: "repo:org/fleet:*", issuer: "{ci.issuer}", role: operator}}\n'
        )
        world.deploy_first("1.0.0", "api")
        yield world


@pytest.fixture(scope="module")
def served(fleet: World) -> Iterator[DaemonProcess]:
    with daemon(fleet) as running:
        running.until_runs("1.0.0")
        yield running


def went(base: str, browser: Browser, path: str = "/login/oidc") -> str:
    """Where the provider sends the browser back to, who has let it in there."""
    left = browser.get(base + path)
    assert left.status == 303, left
    return browser.get(left.location).location


def signed_in(base: str, browser: Browser) -> None:
    arrived = browser.get(went(base, browser))
    assert (arrived.status, arrived.location) == (303, "/"), arrived


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
    own = SignIn(cast(Door, door), Issuer(at, clock), "https://ugs.example/login/callback")

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


def test_a_machine_shows_a_token_of_the_provider(
    served: DaemonProcess, port: int, provider: Provider
) -> None:
    token = provider.token(email="repo:org/fleet@example.org")
    status = call(port, "GET", "/upgrade/status", token=token)
    assert status.status == 200
    assert [one["environment"] for one in status.body["environments"]] == ["production"]
    hold = {"environment": "production", "reason": "me"}
    assert call(port, "POST", "/holds", hold, token=token).status == 403
    ada = provider.token(**ADA)
    made = call(port, "POST", "/holds", hold, token=ada)
    assert (made.status, made.body["owner"]) == (200, "ada@example.org")
    assert call(port, "POST", "/holds/release", {"id": made.body["id"]}, token=ada).status == 200
    nobody = call(port, "GET", "/upgrade/status", token=provider.token(email="sid@example.org"))
    assert nobody.status == 403
    assert "groups: none" in nobody.body["detail"]
    for bad in (provider.token(email="eve@example.org", aud="x"), provider.token(), "a.b.c"):
        assert call(port, "GET", "/upgrade/status", token=bad).status == 401
    assert call(port, "GET", "/upgrade/status", token=token_for(served, "ci", "viewer")).status == 200


def test_each_provider_vouches_for_its_own(
    served: DaemonProcess, port: int, provider: Provider, ci: Provider
) -> None:
    main: dict[str, Any] = {"sub": "repo:org/fleet:ref:refs/heads/main", "aud": AUDIENCE}
    assert call(port, "POST", "/sync", {}, token=ci.token(**main)).status == 200
    for token, status in (
        (ci.token(**main | {"sub": "repo:org/other:ref:refs/heads/main"}), 403),
        (ci.token(**main | {"sub": "eve@example.org"}), 403),  # whom the other one knows
        (ci.token(**main | {"groups": ["sre"]}), 200),
        (ci.token(sub=main["sub"], aud=CLIENT_ID), 401),
        (provider.token(email="repo:org/fleet:ref:refs/heads/main"), 403),
        (provider.token(key=ci.keys[0], **ADA), 401),  # the other one's key
        (ci.token(iss=provider.issuer, **ADA), 401),
    ):
        assert call(port, "POST", "/sync", {}, token=token).status == status


def test_a_provider_that_is_down_keeps_nobody_else_out(
    fleet: World, served: DaemonProcess, base: str, port: int, provider: Provider
) -> None:
    browser, token = Browser(), provider.token(**ADA)
    signed_in(base, browser)
    provider.server.shutdown()
    served.stop()
    with daemon(fleet) as again:  # which has never heard of its keys
        again.until_serving()
        left = browser.get(f"{base}/login/oidc")
        assert left.status == 503
        assert "cannot be reached" in left.text
        assert call(port, "GET", "/upgrade/status", token=token).status == 503
        assert browser.get(f"{base}/upgrade/status").status == 200  # signed in before
        ours = token_for(again, "bob", "viewer")
        assert call(port, "GET", "/upgrade/status", token=ours).status == 200
        provider.server.server_close()
        with listening(provider):
            wait_until(lambda: call(port, "GET", "/upgrade/status", token=token).status == 200)


def test_what_people_may_do_is_read_anew_at_a_start(
    fleet: World, served: DaemonProcess, base: str, provider: Provider
) -> None:
    """The last of the module: its daemon is stopped already."""
    with listening(provider):
        browser = Browser()
        with daemon(fleet) as first:
            first.until_serving()
            signed_in(base, browser)
            assert browser.get(f"{base}/upgrade/status").status == 200
            assert browser.get(f"{base}/tokens").status == 403
        fleet.settings_more = fleet.settings_more.replace(
            "{group: sre, role: viewer}", "{group: dev, role: admin}"
        )
        with daemon(fleet) as promoted:
            promoted.until_serving()
            assert browser.get(f"{base}/tokens").status == 200
        fleet.settings_more = fleet.settings_more.replace("group: sre", "group: x").replace(
            "group: dev", "group: y"
        )
        with daemon(fleet) as without:
            without.until_serving()
            assert browser.get(f"{base}/upgrade/status").status == 401
