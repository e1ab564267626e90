"""Over the network: who is let in, what he sees, and that what he may not see looks as if it were not there."""

from __future__ import annotations

import pytest

from reconciler.store import Store
from tests.api.network import Reply, call, token_for
from tests.api.test_routes import ask
from tests.daemon_process import DaemonProcess
from tests.world import World


def told(reply: Reply) -> str:
    """A refusal without the id of its request."""
    return str({name: value for name, value in reply.body.items() if name != "instance"})


@pytest.mark.fault("AP-07")
def test_nobody_is_let_in_without_a_token(served: DaemonProcess, port: int) -> None:
    for token in (None, "ugs_guessed", "x" * 10_000):
        reply = call(port, "GET", "/upgrade/status", token=token)
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"] == "Bearer"
        assert reply.body["remedy"]
    assert call(port, "GET", "/health/check").status == 200


@pytest.mark.fault("AP-06", "AP-07")
def test_a_token_is_shown_once_and_works_until_it_is_revoked(served: DaemonProcess, port: int) -> None:
    token = token_for(served, "ci", "viewer")
    assert token.startswith("ugs_")
    assert call(port, "GET", "/upgrade/status", token=token).status == 200
    listed = ask(served, "GET", "/tokens").body["tokens"]
    assert token not in str(listed)
    [number] = [one["id"] for one in listed if one["name"] == "ci"]
    assert ask(served, "POST", "/tokens/revoke", {"id": number}).status == 200
    assert call(port, "GET", "/upgrade/status", token=token).status == 401


def test_who_sees_it_and_may_not_is_told_which_role_it_takes(served: DaemonProcess, port: int) -> None:
    token = token_for(served, "eve", "viewer")
    hold = {"environment": "production", "reason": "me"}
    reply = call(port, "POST", "/holds", hold, token=token)
    assert reply.status == 403
    assert "operator or admin" in reply.body["remedy"]
    operator = token_for(served, "oscar", "operator", environments=("prod*",))
    made = call(port, "POST", "/holds", hold, token=operator)
    assert (made.status, made.body["owner"]) == (200, "oscar")
    assert call(port, "POST", "/holds/release", {"id": made.body["id"]}, token=token).status == 403
    assert call(port, "POST", "/holds/release", {"id": made.body["id"]}, token=operator).status == 200


@pytest.mark.fault("AP-06")
def test_what_is_not_there_and_what_is_not_yours_look_the_same(served: DaemonProcess, port: int) -> None:
    elsewhere = token_for(served, "sid", "admin", environments=("staging",))
    replies = [
        call(port, "GET", f"/upgrade/explain?environment={name}&service=api", token=elsewhere)
        for name in ("production", "nowhere")
    ]
    assert {reply.status for reply in replies} == {404}
    shown = [told(reply).replace("nowhere", "production") for reply in replies]
    assert shown[0] == shown[1]
    other = token_for(served, "sue", "viewer", services=("web",))
    replies = [
        call(port, "GET", f"/upgrade/explain?environment=production&service={name}", token=other)
        for name in ("api", "nobody")
    ]
    assert {reply.status for reply in replies} == {404}
    assert told(replies[0]) == told(replies[1]).replace("nobody", "api")
    status = call(port, "GET", "/upgrade/status", token=other).body
    assert [one["services"] for one in status["environments"]] == [[]]
    assert call(port, "GET", "/upgrade/status", token=elsewhere).body["environments"] == []


def test_a_hold_that_is_not_yours_to_see_looks_as_if_it_were_not_there(
    served: DaemonProcess, port: int
) -> None:
    made = ask(served, "POST", "/holds", {"environment": "production", "reason": "move"}).body
    elsewhere = token_for(served, "sid", "operator", environments=("staging",))
    assert call(port, "GET", "/holds", token=elsewhere).body == {"holds": []}
    replies = [
        call(port, "POST", "/holds/release", {"id": number}, token=elsewhere) for number in (made["id"], 999)
    ]
    assert [reply.status for reply in replies] == [404, 404]
    assert ask(served, "POST", "/holds/release", {"id": made["id"]}).status == 200


def test_nobody_gives_rights_that_he_has_not(served: DaemonProcess, port: int) -> None:
    local = token_for(served, "ann", "admin", environments=("production",))
    wanted = {"name": "x", "grants": [{"role": "viewer"}]}
    assert call(port, "POST", "/tokens", wanted, token=local).status == 403
    whole = token_for(served, "root", "admin")
    assert call(port, "POST", "/tokens", wanted, token=whole).status == 200


def test_who_was_turned_away_is_in_the_audit_once(served: DaemonProcess, fleet: World, port: int) -> None:
    token = token_for(served, "mallory", "viewer")
    for _ in range(3):
        assert call(port, "POST", "/sync", {}, token=token).status == 403
    store = Store(fleet.state / "ugs.db", now=lambda: pytest.fail("nobody asks"), read_only=True)
    try:
        rows = [
            row for row in store.audit_rows(limit=200) if row.event == "denied" and row.actor == "mallory"
        ]
    finally:
        store.close()
    assert [row.detail for row in rows] == ["POST /sync: mallory may not do this in everything"]
