"""Holds, approvals and overrides over the daemon's socket: asked well and badly."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from reconciler.api import migrations, permits
from tests.api.test_routes import ask, check_problem
from tests.daemon_process import DaemonProcess, configured, daemon, run_once
from tests.world import World, a_world

WAITS = """\
timezone: UTC
freezes: [{from: 2020-01-01, until: 2199-12-31, reason: later, except: [initial]}]
policy: {approvals: {major: 2}, four_eyes: true}
"""
POSTS = [one.path for one in (*permits.ENDPOINTS, *migrations.ENDPOINTS) if one.method == "POST"]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """1.0.0 of api runs, and 2.0.0 waits for people."""
    with a_world(tmp_path_factory.mktemp("permits")) as world:
        world.more = WAITS
        world.deploy_first("1.0.0")
        assert run_once(world)[0] == 0
        world.bump("2.0.0")
        configured(world)
        yield world


@pytest.fixture(scope="module")
def served(fleet: World) -> Iterator[DaemonProcess]:
    with daemon(fleet) as running:
        running.until_serving()
        running.until(lambda: (seen := running.service()) and seen["phase"] == "waiting")
        yield running


def post(served: DaemonProcess, path: str, body: dict[str, object], *, by: str = "eve") -> Any:
    answer = ask(served, "POST", path, body, actor=by.encode())
    assert answer.status == 200, answer
    assert answer.kind == "application/json"
    return answer.body


def listed(served: DaemonProcess, kind: str) -> Any:
    here = ask(served, "GET", f"/{kind}?environment=production")
    everywhere = ask(served, "GET", f"/{kind}")
    assert here == everywhere
    assert here.status == 200
    assert here.body.keys() == {kind}
    return here.body[kind]


def test_an_approval_of_a_commit_that_has_moved_is_refused(served: DaemonProcess) -> None:
    [change] = ask(served, "POST", "/upgrade/plan", {}).body["changes"]
    wanted = {"environment": "production", "service": "api"}
    moved = ask(served, "POST", "/approvals", wanted | {"revision": "1" * 40}, actor=b"zoe")
    check_problem(moved, 409, "has moved since", "ugs explain production api")
    made = post(served, "/approvals", wanted | {"revision": change["revision"]}, by="zoe")
    assert made["revision"] == change["revision"]
    post(served, "/approvals/withdraw", {"id": made["id"]}, by="zoe")


def test_a_hold_is_made_listed_and_released(served: DaemonProcess) -> None:
    body: dict[str, object] = {"environment": "production", "service": "api", "reason": "database move"}
    made = post(served, "/holds", body | {"for": "4h"})
    assert made.keys() == {"id", "environment", "service", "reason", "owner", "since", "until"}
    assert (made["owner"], made["service"], made["reason"]) == ("eve", "api", "database move")
    length = datetime.fromisoformat(made["until"]) - datetime.fromisoformat(made["since"])
    assert round(length.total_seconds()) == 4 * 3600
    endless = post(served, "/holds", {"environment": "production", "reason": "audit"})
    assert (endless["service"], endless["until"]) == (None, None)
    assert listed(served, "holds") == [made, endless]
    for one in (made, endless):
        assert post(served, "/holds/release", {"id": one["id"]}, by="bob") == one
    assert listed(served, "holds") == []
    check_problem(ask(served, "POST", "/holds/release", {"id": made["id"]}), 409, "ugs hold list")


def test_an_approval_is_made_listed_and_withdrawn(served: DaemonProcess, fleet: World) -> None:
    made = post(served, "/approvals", {"environment": "production", "service": "api", "for": "2h"})
    assert made.keys() == {
        "id", "environment", "service", "from", "to", "path", "revision", "by", "at", "until", "via",
    }  # fmt: skip
    assert (made["by"], made["revision"], made["path"]) == ("eve", fleet.tip(), ["2.0.0"])
    [change] = ask(served, "POST", "/upgrade/plan", {}).body["changes"]
    assert (made["from"], made["to"]) == (change["from"], change["to"])
    assert listed(served, "approvals") == [made]
    again = ask(served, "POST", "/approvals", {"environment": "production", "service": "api"}, actor=b"eve")
    check_problem(again, 409, "already", "ugs approve withdraw")
    assert post(served, "/approvals/withdraw", {"id": made["id"]}, by="bob") == made
    assert listed(served, "approvals") == []


def test_who_wrote_it_is_refused(served: DaemonProcess) -> None:
    body = {"environment": "production", "service": "api"}
    check_problem(ask(served, "POST", "/approvals", body, actor=b"ada"), 409, "ada wrote", "somebody else")


def test_an_override_is_made_listed_and_confirmed(served: DaemonProcess) -> None:
    body: dict[str, object] = {
        "environment": "production",
        "gate": "fit",
        "reason": "it is short",
        "for": "1h",
    }
    made = post(served, "/overrides", body)
    assert made.keys() == {
        "id", "environment", "service", "gate", "reason", "by", "at", "until", "confirmed_by",
    }  # fmt: skip
    assert (made["by"], made["gate"], made["service"], made["confirmed_by"]) == ("eve", "fit", None, None)
    assert listed(served, "overrides") == [made]
    check_problem(ask(served, "POST", "/overrides/confirm", {"id": made["id"]}, actor=b"eve"), 409, "eve")
    confirmed = post(served, "/overrides/confirm", {"id": made["id"]}, by="bob")
    assert confirmed == made | {"confirmed_by": "bob"}
    assert listed(served, "overrides") == [confirmed]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/holds", {"environment": "nowhere", "reason": "why"}, 404, ["nowhere", "production"]),
        ("/holds", {"environment": "production", "service": "nobody", "reason": "why"}, 409, ["it has api"]),
        ("/holds", {"environment": "production", "reason": " "}, 422, ["a reason is needed", "say why"]),
        (
            "/holds",
            {"environment": "production", "reason": "why", "until": "2026-11-03T18:00"},
            422,
            ["offset"],
        ),
        ("/holds", {"environment": "production", "reason": "why", "for": "soon"}, 422, ["4h"]),
        ("/holds", {"environment": "production"}, 400, ["reason"]),
        ("/approvals", {"environment": "production", "service": "nobody"}, 409, ["it has api"]),
        ("/approvals", {"environment": "production"}, 400, ["service"]),
        (
            "/overrides",
            {"environment": "production", "gate": "quarantine", "reason": "why", "for": "1h"},
            409,
            ["ugs retry"],
        ),
        (
            "/overrides",
            {"environment": "production", "gate": "colour", "reason": "why", "for": "1h"},
            422,
            ["window", "freeze"],
        ),
        ("/overrides", {"environment": "production", "gate": "window", "reason": "why"}, 422, ["24 hours"]),
        ("/holds/release", {"id": 99}, 409, ["ugs hold list"]),
        ("/approvals/withdraw", {"id": 99}, 409, ["ugs approve list"]),
        ("/overrides/confirm", {"id": 99}, 409, ["ugs override list"]),
        ("/holds/release", {"id": 0}, 400, ["id"]),
        ("/approvals/withdraw", {"id": 2**80}, 400, ["id"]),
        ("/overrides/confirm", {"id": "1"}, 400, ["id"]),
    ],
)
def test_what_cannot_be_said_is_refused_with_what_to_do(
    served: DaemonProcess, path: str, body: dict[str, object], status: int, words: list[str]
) -> None:
    check_problem(ask(served, "POST", path, body, actor=b"eve"), status, *words)


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "body",
    [b"{", b'"\xff"', b"[]", b'{"colour": "red"}', b'{"\\ud800": 1}'],
    ids=["cut", "not utf-8", "list", "unknown field", "lone surrogate"],
)
def test_a_malformed_body_is_refused(served: DaemonProcess, path: str, body: bytes) -> None:
    check_problem(ask(served, "POST", path, body), 400)


@pytest.mark.parametrize("path", ["/holds", "/approvals", "/overrides"])
def test_a_question_about_something_else_is_refused(served: DaemonProcess, path: str) -> None:
    check_problem(ask(served, "GET", f"{path}?environment=nowhere"), 404, "nowhere")
    check_problem(ask(served, "GET", f"{path}?colour=red"), 400, "colour")
    check_problem(ask(served, "DELETE", path), 405)


def test_none_of_this_was_a_bug(served: DaemonProcess) -> None:
    """Kept last: what was asked above left no traceback in the log."""
    assert "Traceback" not in served.log()
