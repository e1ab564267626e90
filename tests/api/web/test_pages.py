"""The pages as they are read without a script: what they show, to whom, and that nothing in them is markup."""

from __future__ import annotations

import re

import pytest

from tests.api.network import token_for
from tests.api.test_routes import ask
from tests.api.web.visitor import Visitor
from tests.browser.scene import HOSTILE
from tests.daemon_process import DaemonProcess
from tests.git.colleague import git
from tests.world import World

PAGES = (
    "/",
    "/ui/plan",
    "/ui/flags",
    "/ui/calendar",
    "/ui/audit",
    "/ui/service/production/search",
    "/ui/service/staging/web",
)


@pytest.fixture(scope="module")
def ada(served: DaemonProcess, port: int) -> Visitor:
    return Visitor(port, token_for(served, "ada", "admin"))


@pytest.fixture(scope="module")
def sue(served: DaemonProcess, port: int) -> Visitor:
    """Who sees one service."""
    token = token_for(served, "sue", "viewer", environments=("production",), services=("web",))
    return Visitor(port, token)


def operation(served: DaemonProcess, service: str) -> str:
    """The newest upgrade of a service in production."""
    answer = ask(served, "GET", f"/upgrade/history?environment=production&service={service}")
    return str(answer.body["upgrades"][0]["operation"])


def test_the_matrix_shows_what_runs_and_what_waits_for_what(ada: Visitor) -> None:
    page = ada.get("/")
    assert page.status == 200
    assert re.search(
        r'id="c-production-search" class="c waiting".*?1\.4\.0.*? → 2\.0\.0.*?waits for approval', page.text
    )
    assert re.search(r'id="c-staging-web" class="c ok".*?1\.4\.0.*?healthy', page.text)
    assert "8 healthy as pinned" in page.words
    assert "5 of 5" in page.words
    assert "needs 1 approval, has none" in page.words


def test_the_matrix_is_filtered_without_a_script(ada: Visitor) -> None:
    assert re.findall(r'data-service="(\w+)"', ada.get("/?q=SEAR").text) == ["search"]
    assert re.findall(r'data-service="(\w+)"', ada.get("/?only=attention").text) == ["search"]
    assert "No service fits" in ada.get("/?q=nothing").words


def test_a_service_says_why_it_is_not_where_its_pin_says_and_what_lies_between(ada: Visitor) -> None:
    words = ada.get("/ui/service/production/search").words
    assert "needs 1 approval, has none" in words
    assert "Open: quarantine, trust," in words
    assert "Orders are found by their number again." in words
    assert "1.4.0 listens" in words  # its last lines
    assert "healthy since" in words
    assert "Approve 2.0.0" in words


def test_an_upgrade_is_a_timeline_with_its_commit_and_its_revert(ada: Visitor, served: DaemonProcess) -> None:
    words = ada.get(f"/ui/upgrade/{operation(served, 'billing')}").words
    assert "Bump billing to 1.4.2" in words
    assert "Revert production/billing to 1.4.0" in words
    words = words[words.index(" Timeline ") :]
    steps = (
        "preparing",
        "artifact",
        "applying",
        "verifying",
        "quarantined",
        "restoring",
        "revert",
        "reverted",
    )
    found = [words.index(f" s {step} ") for step in steps if f" s {step} " in words]
    assert len(found) == len(steps), words
    assert found == sorted(found)
    assert "answers status 500" in words


def test_what_others_wrote_is_text_and_never_markup(ada: Visitor, served: DaemonProcess) -> None:
    for path in (*PAGES, f"/ui/upgrade/{operation(served, 'search')}", "/ui/audit?text=<b>x"):
        page = ada.get(path)
        assert page.status == 200, path
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "<b>x" not in page.text
    assert HOSTILE in ada.get(f"/ui/upgrade/{operation(served, 'search')}").words
    assert '<script>alert("hostile")</script> is only text.' in ada.get("/ui/service/production/search").words


def test_every_page_forbids_what_is_not_its_own(ada: Visitor) -> None:
    for path in (*PAGES, "/ui/upgrade/none", "/ui/cells?environment=production"):
        headers = ada.get(path).headers
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' data:",
            "connect-src": "'self'",
            "form-action": "'self'",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
        }
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "same-origin"


def test_no_page_has_script_or_style_of_its_own_in_it(ada: Visitor) -> None:
    for path in PAGES:
        text = ada.get(path).text
        assert not re.search(r"<script(?! (type=\"module\" )?src=\"/ui/static/)", text)
        assert not re.search(
            r"<style| style=| on\w+=|javascript:|https?://(?!127)", re.sub(r">[^<]*<", "><", text)
        )


def test_what_the_pages_are_made_of_is_kept_by_browsers(ada: Visitor, port: int) -> None:
    stranger = Visitor(port)
    for address in set(re.findall(r'"(/ui/static/[^"]+)"', ada.get("/").text)):
        page = stranger.get(address)
        assert page.status == 200
        assert "immutable" in page.headers["Cache-Control"]
        tag = page.headers["ETag"]
        assert stranger.get(address, {"If-None-Match": tag}).status == 304
        assert stranger.get(address.partition("?")[0]).headers["Cache-Control"] == "no-cache"
    assert stranger.get("/ui/static/../page.py").status == 404
    assert stranger.get("/ui/static/none.css").status == 404


def test_who_sees_one_service_sees_nothing_of_the_others_on_any_page(
    sue: Visitor, served: DaemonProcess
) -> None:
    for path in (*PAGES[:5], "/ui/service/production/web"):
        page = sue.get(path)
        assert page.status == 200, path
        for other in ("search", "billing", "worker", "staging"):
            assert other not in page.words.replace("Search", ""), (path, other)
    assert re.findall(r'data-service="(\w+)"', sue.get("/").text) == ["web"]
    cells = sue.get("/ui/cells?environment=production")
    assert re.findall(r'id="c-([\w-]+)"', cells.text) == ["production-web"]
    hidden = [
        sue.get(path)
        for path in (
            "/ui/service/production/search",
            "/ui/service/production/nothing",
            "/ui/service/nowhere/web",
        )
    ]
    assert {page.status for page in hidden} == {404}
    assert len({page.text for page in hidden}) == 1
    hidden = [sue.get(f"/ui/upgrade/{one}") for one in (operation(served, "billing"), "none")]
    assert {page.status for page in hidden} == {404}
    assert len({page.text for page in hidden}) == 1
    assert sue.get("/ui/calendar?environment=staging").status == 404
    assert sue.get("/ui/cells?environment=staging").status == 404


def test_what_a_service_wrote_is_for_those_who_operate_it(sue: Visitor) -> None:
    words = sue.get("/ui/service/production/web").words
    assert "it takes the role operator or admin" in words
    assert "1.4.0 listens" not in words


def test_nothing_is_offered_that_the_role_does_not_allow(served: DaemonProcess, port: int) -> None:
    offers = {}
    for role in ("viewer", "operator", "approver", "admin"):
        visitor = Visitor(port, token_for(served, role, role))
        page = visitor.get("/ui/service/production/search")
        offers[role] = set(re.findall(r'action="/ui/act(/[\w/]+)"', page.text))
    assert offers == {
        "viewer": set(),
        "operator": {"/holds", "/upgrade/rollback"},
        "approver": {"/approvals"},
        "admin": {"/holds", "/upgrade/rollback", "/approvals"},
    }


def test_the_calendar_has_windows_and_freezes_by_the_day(ada: Visitor) -> None:
    page = ada.get("/ui/calendar?environment=production&year=2027")
    assert "2027-01-02: frozen: year end" in page.words
    assert "2027-04-03: open for major, minor" in page.words
    assert "2027-12-24: frozen: year end" in page.words
    assert "Always open, freezes apart: patch." in page.words
    assert "M a window: M major" in page.words
    assert "Europe/Berlin" in page.words
    assert ada.get("/ui/calendar?year=1850").status == 404
    assert ada.get("/ui/calendar?year=oops").status == 200


def test_the_audit_is_searched_and_turned_over(ada: Visitor) -> None:
    page = ada.get("/ui/audit?text=STATUS+500&environment=production")
    rows = re.findall(r'data-label="Event">(?:<a[^>]*>)?([\w-]+)', page.text)
    assert {"quarantined", "reverted"} <= set(rows)
    assert {"succeeded"}.isdisjoint(rows)
    assert "No row fits" in ada.get("/ui/audit?actor=nobody").words
    rows = re.findall(r'<th scope="row">(\d+)</th>', ada.get("/ui/audit?before=5").text)
    assert rows == ["4", "3", "2", "1"]


def test_the_plan_of_an_open_branch_is_shown_before_it_is_merged(
    ada: Visitor, sue: Visitor, fleet: World, served: DaemonProcess
) -> None:
    colleague = fleet.ada
    colleague.pull_if_any()
    git(colleague.folder, "checkout", "--quiet", "-b", "ada/web-1.5.0")
    fleet.release("1.5.0", service="web", more="notes: |\n  Faster <i>still</i>.\n")
    fleet.pin("1.5.0", "web")
    fleet.commit("Bump web to 1.5.0 <script>alert(2)</script>")
    git(colleague.folder, "push", "--quiet", "origin", "ada/web-1.5.0")
    git(colleague.folder, "checkout", "--quiet", "main")
    fleet.pin("1.4.0", "web")
    # The names of branches are asked for seldom.
    served.until(lambda: "ada/web-1.5.0" in ada.get("/ui/plan").words)
    page = ada.get("/ui/plan?branch=ada%2Fweb-1.5.0")
    assert "production/web 1.4.0 → 1.5.0 minor" in page.words
    assert "Waits for window" in page.words
    assert "Faster <i>still</i>." in page.words
    assert "<script>alert(2)" not in page.text
    assert "Bump web to 1.5.0 <script>alert(2)</script>" in page.words
    limited = sue.get("/ui/plan?branch=ada%2Fweb-1.5.0").words
    assert "production/web" in limited
    assert "alert(2)" not in limited  # what commits say may be about anything
    assert served.service("web")["phase"] is None  # nothing came of it
    wrong = ada.get("/ui/plan?branch=nothing")
    assert wrong.status == 200
    assert "there is no branch nothing" in wrong.words


def test_only_what_is_asked_for_comes_as_cells(ada: Visitor) -> None:
    page = ada.get("/ui/cells?environment=production&service=web&service=api&service=none")
    assert re.findall(r'id="c-([\w-]+)"', page.text) == ["production-web", "production-api"]
    assert 'id="now"' in page.text
    none = ada.get("/ui/cells?environment=production&service=")
    assert 'id="c-' not in none.text
