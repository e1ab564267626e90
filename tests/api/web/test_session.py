"""Signing in and out, and that no other site's page can act for somebody who is signed in."""

from __future__ import annotations

import re
import time

import pytest

from tests.api.event_stream import EventStream
from tests.api.network import call, token_for
from tests.api.test_routes import ask
from tests.api.web.visitor import Visitor
from tests.daemon_process import DaemonProcess

SEARCH = "/ui/service/production/search"


def holds(served: DaemonProcess) -> list[str]:
    return [one["reason"] for one in ask(served, "GET", "/holds").body["holds"]]


def hold(visitor: Visitor, reason: str, **more: str) -> dict[str, str]:
    """The form that holds search, as the page has it."""
    fields = {
        "csrf": visitor.get(SEARCH).csrf,
        "back": SEARCH,
        "environment": "production",
        "service": "search",
    }
    return fields | {"reason": reason, "for": ""} | more


def test_who_is_not_signed_in_is_asked_to_and_led_back(served: DaemonProcess, port: int) -> None:
    visitor = Visitor(port)
    assert visitor.get("/").to == "/login"
    page = visitor.get("/ui/audit?text=a")
    assert (page.status, page.to) == (303, "/login?next=/ui/audit%3Ftext%3Da")
    form = visitor.get(page.to)
    assert 'name="next" value="/ui/audit?text=a"' in form.text
    token = token_for(served, "ann", "viewer")
    assert (
        visitor.post("/login", {"token": f" {token} ", "next": "/ui/audit?text=a"}).to == "/ui/audit?text=a"
    )
    assert visitor.get("/").status == 200


def test_nobody_is_led_to_another_site(served: DaemonProcess, port: int) -> None:
    token = token_for(served, "ann", "viewer")
    for next_ in (
        "//evil.example/",
        "https://evil.example/",
        "/\\evil.example",
        "/ui/../..//evil",
        "javascript:1",
    ):
        visitor = Visitor(port)
        assert visitor.post("/login", {"token": token, "next": next_}).to in ("/", ""), next_


def test_a_wrong_token_is_refused_and_told_in_the_audit(served: DaemonProcess, port: int) -> None:
    visitor = Visitor(port)
    page = visitor.post("/login", {"token": "ugs_guessed"})
    assert page.status == 403
    assert "unknown, expired or revoked" in page.words
    assert "ugs_guessed" not in page.text
    assert visitor.cookies == {}
    admin = Visitor(port, token_for(served, "root", "admin"))
    assert "POST /login: this token is unknown" in admin.get("/ui/audit?event=denied").words


def test_the_cookie_is_no_scripts_and_of_no_other_site(served: DaemonProcess, port: int) -> None:
    token = token_for(served, "ann", "viewer")
    plain = Visitor(port).post("/login", {"token": token}).headers["Set-Cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=lax" in plain
    assert "Secure" not in plain
    proxied = Visitor(port).post("/login", {"token": token}, {"X-Forwarded-Proto": "https"})
    assert "Secure" in proxied.headers["Set-Cookie"]


def test_signing_out_ends_the_session_and_its_stream(served: DaemonProcess, port: int) -> None:
    visitor = Visitor(port, token_for(served, "ann", "viewer"))
    cookie = {"Cookie": f"ugs_session={visitor.cookies['ugs_session']}"}
    csrf = re.search(r'value="([0-9a-f]{64})"', visitor.get("/").text)
    assert csrf
    with EventStream(port, None, headers=cookie) as stream:
        stream.until("ready")
        assert visitor.post("/logout", {"csrf": csrf[1]}).to == "/login"
        began_s = time.monotonic()
        list(stream)
        assert time.monotonic() - began_s < 5
    visitor.cookies["ugs_session"] = cookie["Cookie"].partition("=")[2]
    assert visitor.get("/").to == "/login"


def test_a_session_ends_when_its_token_is_revoked(served: DaemonProcess, port: int) -> None:
    visitor = Visitor(port, token_for(served, "rob", "viewer"))
    assert visitor.get("/").status == 200
    listed = ask(served, "GET", "/tokens").body["tokens"]
    [mine] = [one["id"] for one in listed if one["name"] == "rob"]
    ask(served, "POST", "/tokens/revoke", {"id": mine})
    assert visitor.get("/").to == "/login"


def test_a_session_asks_the_api_and_changes_nothing_there(served: DaemonProcess, port: int) -> None:
    visitor = Visitor(port, token_for(served, "ann", "admin"))
    cookie = {"Cookie": f"ugs_session={visitor.cookies['ugs_session']}"}
    assert call(port, "GET", "/upgrade/status", headers=cookie).status == 200
    wanted = {"environment": "production", "reason": "by another site"}
    assert call(port, "POST", "/holds", wanted, headers=cookie).status == 401
    assert "by another site" not in holds(served)


def test_a_person_holds_and_releases_from_the_page(served: DaemonProcess, port: int) -> None:
    visitor = Visitor(port, token_for(served, "olga", "operator"))
    page = visitor.post("/ui/act/holds", hold(visitor, "the database moves", **{"for": "1h"}))
    assert (page.status, page.to) == (303, f"{SEARCH}?said=held")
    shown = visitor.get(page.to)
    assert "Held. Nothing new starts here" in shown.words
    assert "Held by olga : the database moves" in shown.words
    [number] = re.findall(r'name="id" value="(\d+)"', shown.text)
    fields = {"csrf": shown.csrf, "back": SEARCH, "id": number}
    assert visitor.post("/ui/act/holds/release", fields).to == f"{SEARCH}?said=released"
    assert "the database moves" not in holds(served)


@pytest.mark.parametrize(
    "spoil",
    [
        {"csrf": ""},
        {"csrf": "0" * 64},
    ],
)
def test_a_form_of_no_session_of_ours_is_refused(
    served: DaemonProcess, port: int, spoil: dict[str, str]
) -> None:
    visitor = Visitor(port, token_for(served, "olga", "operator"))
    page = visitor.post("/ui/act/holds", hold(visitor, "forged") | spoil)
    assert page.status == 403
    assert "another session" in page.words
    assert "forged" not in holds(served)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_form_that_another_sites_page_sent_is_refused(
    served: DaemonProcess, port: int, headers: dict[str, str]
) -> None:
    visitor = Visitor(port, token_for(served, "olga", "operator"))
    page = visitor.post("/ui/act/holds", hold(visitor, "forged"), headers)
    assert page.status == 403
    assert "another site" in page.words
    assert "forged" not in holds(served)
    token = token_for(served, "mallory", "viewer")
    assert Visitor(port).post("/login", {"token": token}, headers).status == 403  # nor does it sign anyone in


def test_a_form_of_our_own_page_is_taken(served: DaemonProcess, port: int) -> None:
    visitor = Visitor(port, token_for(served, "olga", "operator"))
    own = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://127.0.0.1:{port}"}
    assert visitor.post("/ui/act/holds", hold(visitor, "ours", **{"for": "1s"}), own).status == 303


def test_a_page_does_nothing_that_the_api_would_not(served: DaemonProcess, port: int) -> None:
    viewer = Visitor(port, token_for(served, "vic", "viewer"))
    form = hold(viewer, "by a viewer")
    page = viewer.post("/ui/act/holds", form)
    assert (page.status, "operator or admin" in page.words) == (403, True)
    elsewhere = Visitor(port, token_for(served, "sid", "admin", environments=("staging",)))
    page = elsewhere.post("/ui/act/holds", form | {"csrf": elsewhere.get("/ui/service/staging/web").csrf})
    assert page.status == 404
    assert "by a viewer" not in holds(served)


def test_what_a_form_lacks_or_has_too_much_is_told(served: DaemonProcess, port: int) -> None:
    visitor = Visitor(port, token_for(served, "olga", "operator"))
    page = visitor.post("/ui/act/holds", hold(visitor, ""))
    assert (page.status, "missing required field `reason`" in page.words) == (400, True)
    page = visitor.post("/ui/act/holds", hold(visitor, "x", colour="green"))
    assert page.status == 400
    page = visitor.post("/ui/act/holds", hold(visitor, "x" * 70_000))
    assert page.status == 413
    page = visitor.post("/ui/act/holds", {"a": "b"}, {"Content-Type": "application/json"})
    assert page.status == 400
    page = visitor.post(
        "/ui/act/holds/release", {"csrf": visitor.get(SEARCH).csrf, "back": SEARCH, "id": "999"}
    )
    assert page.status == 409
    assert Visitor(port).post("/ui/act/holds", {"a": "b"}).to == "/login"


def test_the_socket_has_no_pages(served: DaemonProcess) -> None:
    assert ask(served, "GET", "/login").status == 404
