"""Plans, starts, check-ups and roll-backs over the network, on one daemon that goes through an upgrade."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.network import Reply, call, token_for
from tests.api.test_routes import ask
from tests.daemon_process import DaemonProcess, daemon
from tests.git.colleague import git
from tests.world import World, a_world

HERE = {"environment": "production", "service": "api"}
BY_HAND = "timezone: UTC\nwindows: {major: manual}\n"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[World]:
    """1.0.0 runs, and 2.0.0 is pinned and started by a person alone."""
    with a_world(tmp_path_factory.mktemp("changes")) as world:
        world.settings_more = f'listen: "127.0.0.1:{port}"\n'
        world.more = BY_HAND
        world.deploy_first("1.0.0")
        yield world


@pytest.fixture(scope="module")
def served(fleet: World) -> Iterator[DaemonProcess]:
    with daemon(fleet) as running:
        running.until_runs("1.0.0")
        yield running


@pytest.fixture(scope="module")
def admin(served: DaemonProcess) -> str:
    return token_for(served, "ann", "admin")


def check(reply: Reply, status: int, *words: str) -> None:
    assert reply.status == status, reply
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.body["remedy"]
    assert reply.body["instance"] == f"urn:ugs:request:{reply.headers['X-Request-Id']}"
    for word in words:
        assert word in f"{reply.body['detail']}; {reply.body['remedy']}"


def test_what_runs_is_asked_how_it_is_and_nothing_changes(
    served: DaemonProcess, port: int, admin: str
) -> None:
    reply = call(port, "POST", "/upgrade/verify", HERE, token=admin)
    assert reply.status == 200, reply
    [service] = reply.body["services"]
    assert (service["service"], service["verdict"]) == ("api", "healthy")
    [instance] = service["instances"]
    assert {one["probe"] for one in instance["probes"]} >= {"process"}
    everything = call(port, "POST", "/upgrade/verify", {"environment": "production"}, token=admin).body
    [other] = everything["services"]
    assert {name: other[name] for name in ("service", "running", "verdict", "sentence")} == {
        name: service[name] for name in ("service", "running", "verdict", "sentence")
    }
    nobody = call(port, "POST", "/upgrade/verify", HERE | {"service": "nobody"}, token=admin)
    check(nobody, 409, "no service nobody")
    rows = ask(served, "GET", "/audit?event=verify").body["rows"]
    assert {row["actor"] for row in rows} == {"ann"}


def test_the_plan_of_a_branch_is_told_before_it_is_merged(
    served: DaemonProcess, fleet: World, port: int, admin: str
) -> None:
    before = fleet.tip()
    proposed = fleet.push_aside("proposal", "2.0.0")
    reply = call(port, "POST", "/upgrade/plan", {"branch": "proposal"}, token=admin)
    assert reply.status == 200, reply
    assert (reply.body["to_revision"], reply.body["basis"]) == (proposed, "daemon")
    [change] = reply.body["changes"]
    assert change["to"].startswith("2.0.0@")
    assert call(port, "POST", "/upgrade/plan", {}, token=admin).body["changes"] == []
    body = {"from": before, "to": proposed}
    assert len(call(port, "POST", "/upgrade/plan", body, token=admin).body["changes"]) == 1
    other = body | {"environment": "production", "service": "web"}
    assert call(port, "POST", "/upgrade/plan", other, token=admin).body["changes"] == []
    check(call(port, "POST", "/upgrade/plan", {"branch": "nowhere"}, token=admin), 422, "no branch nowhere")
    check(call(port, "POST", "/upgrade/plan", {"branch": "a..b"}, token=admin), 422, "no name of a branch")
    check(call(port, "POST", "/upgrade/plan", {"to": "0" * 40}, token=admin), 409, "not known here")
    both = {"branch": "proposal", "to": proposed}
    check(call(port, "POST", "/upgrade/plan", both, token=admin), 400)
    elsewhere = token_for(served, "sid", "viewer", environments=("staging",))
    seen = call(port, "POST", "/upgrade/plan", {"branch": "proposal"}, token=elsewhere).body
    assert (seen["changes"], seen["errors"], seen["settings"]) == ([], [], [])
    git(fleet.remote, "update-ref", "refs/heads/main", proposed)


def test_fifty_who_start_it_at_once_start_one_operation(
    served: DaemonProcess, fleet: World, port: int, admin: str
) -> None:
    assert ask(served, "POST", "/sync").status == 200
    served.until(lambda: (seen := served.service()) and seen["phase"] == "waiting")
    late = fleet.tip()
    begin = threading.Barrier(50)

    def start(_: int) -> Reply:
        begin.wait(60)
        return call(port, "POST", "/upgrade/execute", HERE | {"reason": "now"}, token=admin)

    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(start, range(50)))
    assert {one.status for one in replies} == {202}, replies
    [operation] = {one.body["operation"] for one in replies}
    served.until_runs("2.0.0")
    served.until(lambda: (seen := served.service()) and seen["phase"] is None)
    told = call(port, "GET", f"/upgrade/status?operation={operation}", token=admin).body
    assert told["upgrade"]["operation"] == operation
    assert told["upgrade"]["revision"] == late
    assert [one["service"] for one in told["environments"][0]["services"]] == ["api"]
    assert {one["step"] for one in told["upgrade"]["steps"]} >= {"apply"}
    history = call(port, "GET", "/upgrade/history?service=api&class=major", token=admin).body
    assert [one["operation"] for one in history["upgrades"]] == [operation]
    check(call(port, "POST", "/upgrade/execute", HERE, token=admin), 409, "nothing is planned for api")


def test_the_past_is_read_page_by_page(served: DaemonProcess, port: int, admin: str) -> None:
    whole = call(port, "GET", "/upgrade/history?limit=100", token=admin).body["upgrades"]
    assert len(whole) >= 2
    found, after = [], ""
    while True:
        page = call(port, "GET", f"/upgrade/history?limit=1{after}", token=admin).body
        found += page["upgrades"]
        if page["next"] is None:
            break
        after = f"&cursor={page['next']}"
    assert found == whole
    for cursor in ("x", "!!", "AAAA"):
        check(call(port, "GET", f"/upgrade/history?cursor={cursor}", token=admin), 400, "none of ours")
    check(call(port, "GET", "/upgrade/history?since=yesterday", token=admin), 400, "offset")
    assert (
        call(port, "GET", "/upgrade/history?since=2999-01-01T00:00:00Z", token=admin).body["upgrades"] == []
    )
    elsewhere = token_for(served, "sue", "viewer", environments=("staging",))
    assert call(port, "GET", "/upgrade/history", token=elsewhere).body["upgrades"] == []
    assert call(port, "GET", "/audit", token=elsewhere).body["rows"] == []
    operation = whole[0]["operation"]
    check(call(port, "GET", f"/upgrade/status?operation={operation}", token=elsewhere), 404, "no operation")


def test_a_roll_back_to_what_would_not_be_restored_is_refused(
    served: DaemonProcess, fleet: World, port: int, admin: str
) -> None:
    reply = call(port, "POST", "/upgrade/rollback", HERE | {"to": "0.9.0", "reason": "no"}, token=admin)
    check(reply, 409, "1.0.0 of api would be restored, and not 0.9.0", "leave `to` out")
    assert served.service()["running"].startswith("2.0.0@")
    done = call(port, "POST", "/upgrade/rollback", HERE | {"to": "1.0.0", "reason": "slow"}, token=admin)
    assert done.status == 200, done
    served.until_runs("1.0.0")


def test_an_answer_that_the_client_has_is_not_sent_again(
    served: DaemonProcess, port: int, admin: str
) -> None:
    first = call(port, "GET", "/holds", token=admin)
    tag = first.headers["ETag"]
    again = call(port, "GET", "/holds", token=admin, headers={"If-None-Match": f'"x", {tag}'})
    assert (again.status, again.body) == (304, b"")
    call(port, "POST", "/holds", {"environment": "production", "reason": "news"}, token=admin)
    assert call(port, "GET", "/holds", token=admin, headers={"If-None-Match": tag}).status == 200


def test_the_status_comes_in_pages_and_as_a_part(served: DaemonProcess, port: int, admin: str) -> None:
    whole = call(port, "GET", "/upgrade/status", token=admin).body
    assert whole["next"] is None
    page = call(port, "GET", "/upgrade/status?limit=1", token=admin).body
    assert page["environments"] == whole["environments"]
    assert page["next"] is None
    none = call(port, "GET", "/upgrade/status?service=nobody", token=admin)
    assert none.body["environments"][0]["services"] == []
    waiting = call(port, "GET", "/upgrade/status?phase=verifying", token=admin).body
    assert waiting["environments"][0]["services"] == []
    check(call(port, "GET", "/upgrade/status?phase=flying", token=admin), 400, "flying")


def test_windows_releases_and_notes_are_told(
    served: DaemonProcess, fleet: World, port: int, admin: str
) -> None:
    [place] = call(port, "GET", "/windows", token=admin).body["environments"]
    [major] = [one for one in place["classes"] if one["class"] == "major"]
    assert (major["open"], "a person starts" in major["reason"]) == (False, True)
    year = call(port, "GET", "/windows?year=2026", token=admin).body["environments"][0]
    assert year["year"] == 2026
    feed = call(port, "GET", "/windows.ics", token=admin)
    assert feed.headers["Content-Type"].startswith("text/calendar")
    assert feed.body.startswith(b"BEGIN:VCALENDAR")
    releases = call(port, "GET", "/releases?service=api", token=admin).body["releases"]
    assert [one["version"] for one in releases] == ["2.0.0", "1.0.0"]
    paged = call(port, "GET", "/releases?limit=1", token=admin).body
    rest = call(port, "GET", f"/releases?limit=1&cursor={paged['next']}", token=admin).body
    assert [one["version"] for one in (*paged["releases"], *rest["releases"])] == ["2.0.0", "1.0.0"]
    notes = call(port, "GET", "/releases/notes?service=api&from=1.0.0", token=admin).body["services"]
    assert [one["version"] for one in notes[0]["releases"]] == ["2.0.0"]
    first = git(fleet.remote, "rev-list", "--max-parents=0", "main").split()[0]
    since = call(port, "GET", f"/releases/notes?environment=production&since={first}", token=admin)
    assert since.status == 200, since
    for wrong, status in (
        ("service=api", 400),
        ("service=api&from=one", 400),
        ("service=nobody&from=1.0.0", 409),
        (f"environment=production&since={'0' * 40}", 409),
    ):
        check(call(port, "GET", f"/releases/notes?{wrong}", token=admin), status)
    web = token_for(served, "wes", "viewer", services=("web",))
    assert call(port, "GET", "/releases", token=web).body["releases"] == []
    check(call(port, "GET", "/releases/notes?service=api&from=1.0.0", token=web), 404, "no release of api")


def test_the_ids_of_requests_are_kept_where_they_are_sane(
    served: DaemonProcess, port: int, admin: str
) -> None:
    own = call(port, "GET", "/holds", token=admin, headers={"X-Request-Id": "ci/4711"})
    assert own.headers["X-Request-Id"] == "ci/4711"
    for odd in ("x" * 101, "a b", "<script>"):
        made = call(port, "GET", "/holds", token=admin, headers={"X-Request-Id": odd})
        assert made.headers["X-Request-Id"] not in {odd, ""}


def test_who_asks_too_often_is_told_when_to_come_back(served: DaemonProcess, port: int) -> None:
    eager = token_for(served, "eager", "viewer")
    replies = []
    for _ in range(600):
        replies.append(call(port, "GET", "/holds", token=eager))
        if replies[-1].status == 429:
            break
    check(replies[-1], 429, "too many requests")
    assert int(replies[-1].headers["Retry-After"]) >= 1
    assert call(port, "GET", "/holds", token=token_for(served, "calm", "viewer")).status == 200


def test_none_of_this_was_a_bug(served: DaemonProcess) -> None:
    assert "Traceback" not in served.log()
