"""The daemon's socket: every route, asked well and badly."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any, NamedTuple

import pytest

from reconciler.api.endpoint import BODY_BYTES_MAX
from reconciler.cli.client import call
from tests.daemon_process import DaemonProcess
from tests.world import World


class Answer(NamedTuple):
    status: int
    kind: str
    body: Any


def ask(
    served: DaemonProcess,
    method: str,
    path: str,
    body: bytes | Mapping[str, object] | None = None,
    *,
    actor: bytes = b"ada",
) -> Answer:
    """One request over the Unix socket."""
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.settimeout(30)
        connection.sock.connect(str(served.socket))
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, data, {"X-Ugs-Actor": actor})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers["Content-Type"], json.loads(answer.read()))
    finally:
        connection.close()


def check_problem(answer: Answer, status: int, *words: str) -> None:
    """A refusal in the one shape that all have."""
    assert answer.status == status, answer
    assert answer.kind == "application/problem+json"
    assert answer.body.keys() >= {"type", "title", "status", "detail", "instance", "remedy"}
    assert answer.body["status"] == status
    for word in words:
        assert word in f"{answer.body['detail']}; {answer.body['remedy']}"


def test_status_has_the_documented_shape(served: DaemonProcess, fleet: World) -> None:
    status, kind, body = ask(served, "GET", "/upgrade/status")
    assert (status, kind) == (200, "application/json")
    assert body.keys() >= {"as_of", "fetched_at", "daemon", "environments"}
    assert body["daemon"]["pid"] == served.pid
    [environment] = body["environments"]
    assert environment.keys() >= {"environment", "revision", "services"}
    assert environment["revision"] == fleet.tip()
    [service] = environment["services"]
    assert service["pinned"] == service["running"]
    assert (service["sync"], service["health"], service["phase"]) == ("in-sync", "healthy", None)
    [instance] = service["instances"]
    assert instance["pid"] == int(fleet.pid())


def test_status_of_one_environment(served: DaemonProcess) -> None:
    answer = ask(served, "GET", "/upgrade/status?environment=production")
    assert [one["environment"] for one in answer.body["environments"]] == ["production"]


def test_explain_answers_in_a_sentence_and_with_gates(served: DaemonProcess) -> None:
    answer = ask(served, "GET", "/upgrade/explain?environment=production&service=api")
    assert answer.status == 200
    assert answer.body.keys() >= {"sentence", "gates", "path", "starts_at"}
    assert answer.body["sentence"].startswith("production: api 1.0.0")


def test_plan_of_a_fleet_at_rest_is_empty(served: DaemonProcess, fleet: World) -> None:
    answer = ask(served, "POST", "/upgrade/plan", {})
    assert answer == (
        200,
        "application/json",
        {"from_revision": None, "to_revision": fleet.tip(), "changes": [], "flags": [], "basis": None},
    )


def test_a_body_may_be_left_out_where_nothing_must_be_said(served: DaemonProcess, fleet: World) -> None:
    assert ask(served, "POST", "/upgrade/plan").status == 200
    assert ask(served, "POST", "/sync").body == {"revision": fleet.tip()}


def test_quarantine_is_empty_while_nothing_failed(served: DaemonProcess) -> None:
    assert ask(served, "GET", "/quarantine").body == {"quarantine": []}


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("GET", "/upgrade/explain?environment=production&service=nobody", None, ["nobody", "it has api"]),
        ("POST", "/upgrade/rollback", {"environment": "production", "service": "nobody"}, ["nobody", "pin"]),
        ("POST", "/upgrade/rollback", {"environment": "production", "service": "api"}, ["api", "pin"]),
        ("POST", "/upgrade/retry", {"environment": "production", "service": "api"}, ["ugs quarantine list"]),
        (
            "POST",
            "/quarantine/release",
            {"environment": "production", "service": "y"},
            ["ugs quarantine list"],
        ),
    ],
)
def test_what_does_not_fit_is_a_conflict_with_a_remedy(
    served: DaemonProcess, method: str, path: str, body: dict[str, object] | None, words: list[str]
) -> None:
    answer = ask(served, method, path, body)
    check_problem(answer, 409, *words)
    assert answer.body["remedy"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/upgrade/status?environment=nowhere", None),
        ("GET", "/upgrade/explain?environment=nowhere&service=api", None),
        ("POST", "/upgrade/rollback", {"environment": "nowhere", "service": "api"}),
    ],
)
def test_an_environment_that_is_not_there_is_not_found(
    served: DaemonProcess, method: str, path: str, body: dict[str, object] | None
) -> None:
    check_problem(ask(served, method, path, body), 404, "nowhere", "production")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/upgrade/explain", ["environment"]),
        ("/upgrade/explain?environment=production", ["service"]),
        ("/upgrade/explain?environment=production&service=api&colour=red", ["colour"]),
    ],
)
def test_a_question_without_what_it_is_about_is_refused(
    served: DaemonProcess, path: str, words: list[str]
) -> None:
    check_problem(ask(served, "GET", path), 400, *words)


POSTS = ("/upgrade/plan", "/upgrade/rollback", "/upgrade/retry", "/quarantine/release", "/sync")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "body",
    [b"{", b'"\xff"', b"[]", b"1", b'{"colour": "red"}', b"[" * 20_000, b'{"\\ud800": 1}'],
    ids=["cut", "not utf-8", "list", "number", "unknown field", "deep", "lone surrogate"],
)
def test_a_malformed_body_is_refused(served: DaemonProcess, path: str, body: bytes) -> None:
    check_problem(ask(served, "POST", path, body), 400)


@pytest.mark.parametrize(
    "body",
    [{}, {"environment": "production"}, {"environment": "production", "service": 7}],
)
@pytest.mark.parametrize("path", ["/upgrade/rollback", "/upgrade/retry", "/quarantine/release"])
def test_a_body_without_its_fields_is_refused(
    served: DaemonProcess, path: str, body: dict[str, object]
) -> None:
    check_problem(ask(served, "POST", path, body), 400, "`")


def test_a_body_at_the_limit_is_read_and_one_over_it_is_not(served: DaemonProcess) -> None:
    wanted = b'{"accept_rewrite": false}'
    assert ask(served, "POST", "/sync", wanted.ljust(BODY_BYTES_MAX)).status == 200
    check_problem(ask(served, "POST", "/sync", wanted.ljust(BODY_BYTES_MAX + 1)), 413, "65536")


def test_an_unknown_route_is_not_found(served: DaemonProcess) -> None:
    check_problem(ask(served, "GET", "/upgrade"), 404)


@pytest.mark.parametrize("path", POSTS)
def test_what_changes_something_is_never_a_get(served: DaemonProcess, path: str) -> None:
    check_problem(ask(served, "GET", path), 405)


@pytest.mark.parametrize("path", ["/upgrade/status", "/upgrade/explain", "/quarantine"])
def test_what_only_answers_is_never_a_post(served: DaemonProcess, path: str) -> None:
    check_problem(ask(served, "POST", path, {}), 405)


def test_what_the_remote_will_not_do_is_said(served: DaemonProcess, fleet: World) -> None:
    away = fleet.remote.rename(fleet.folder / "away.git")
    try:
        check_problem(ask(served, "POST", "/sync", {}), 422, "fleet.git")
        body = ask(served, "GET", "/upgrade/status").body
        assert body["daemon"]["state"] == "unreachable"
    finally:
        away.rename(fleet.remote)
    assert ask(served, "POST", "/sync", {}).status == 200
    assert ask(served, "GET", "/upgrade/status").body["daemon"]["state"] == "ok"


def test_none_of_this_was_a_bug(served: DaemonProcess) -> None:
    """Kept last: what was asked above left no traceback in the log."""
    assert "Traceback" not in served.log()


@pytest.mark.fault("DB-04")
def test_a_request_that_meets_a_locked_database_may_come_again(served: DaemonProcess, fleet: World) -> None:
    assert ask(served, "GET", "/health/check").body["ready"] is True
    hold = {"environment": "production", "service": "api", "reason": "database move"}
    with closing(sqlite3.connect(fleet.state / "ugs.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        check_problem(ask(served, "POST", "/holds", hold), 503, "locked by another process")
        check_problem(ask(served, "GET", "/health/check"), 503, "the database cannot be written")
        assert call(served.state, "GET", "/holds") == {"holds": []}, "reading goes on"
    made = ask(served, "POST", "/holds", hold)
    assert made.status == 200
    assert ask(served, "POST", "/holds/release", {"id": made.body["id"]}).status == 200
    assert ask(served, "GET", "/health/check").status == 200
