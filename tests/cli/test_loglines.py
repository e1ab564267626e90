"""The daemon's log: a line, or an object, for each thing; and nothing that others wrote becomes one of its own."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.answer import REQUEST_ID
from reconciler.cli.loglines import Form, Human, Json, configure
from reconciler.engine.control import OPERATION
from tests.api.network import call, token_for
from tests.daemon_process import configured, daemon
from tests.drivers.services import free_port
from tests.model.test_trace import upgrade
from tests.world import World

FORGED = "a\n2026-11-28 09:00:00,000 INFO all is well\r\x1b[2K\u2028{}"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def record(message: str, exception: bool = False, **extra: object) -> logging.LogRecord:
    info = None
    if exception:
        try:
            raise ValueError(message)
        except ValueError:
            info = sys.exc_info()
    made = logging.LogRecord("ugs", logging.WARNING, "file", 1, "%s", (message,), info)
    made.__dict__.update(extra)
    return made


@given(st.text())
def test_a_message_is_one_line_whatever_is_in_it(text: str) -> None:
    for form in (Human(), Json()):
        assert len(form.format(record(text)).splitlines()) == 1
    assert json.loads(Json().format(record(f"x{text}")))["message"] == f"x{text}"


def test_a_trace_is_indented_and_its_error_cannot_forge_a_line() -> None:
    first, *others = Human().format(record(FORGED, exception=True)).splitlines()
    assert first.endswith(r"WARNING a\n2026-11-28 09:00:00,000 INFO all is well\r\x1b[2K\u2028{}")
    assert len(others) >= 3
    assert all(line.startswith("    ") for line in others)
    said = json.loads(Json().format(record(FORGED, exception=True)))
    assert FORGED in said["exception"]


def test_an_object_says_where_it_was_said_and_nothing_that_is_empty() -> None:
    assert set(json.loads(Json().format(record("x")))) == {"time", "level", "logger", "message"}
    token = OPERATION.set("op-of-the-task")
    try:
        said = json.loads(Json().format(record("x")))
        own = json.loads(Json().format(record("x", upgrade=upgrade())))
    finally:
        OPERATION.reset(token)
    assert (said["operation"], said["level"]) == ("op-of-the-task", "warning")
    assert "service" not in said
    assert (own["operation"], own["service"]) == ("0123456789abcdef", "api")
    assert "from" not in own
    assert datetime.fromisoformat(said["time"]).utcoffset() is not None


@pytest.mark.parametrize("form", ["human", "json"])
def test_other_peoples_libraries_are_quiet(form: Form, capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", form)
    token = REQUEST_ID.set("r-1")
    try:
        logging.getLogger("uvicorn").info("chatter")
        logging.getLogger("ugs").info("hello")
    finally:
        REQUEST_ID.reset(token)
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    if form == "json":
        assert json.loads(line)["request"] == "r-1"
    else:
        assert line.endswith(" INFO hello")


def test_a_daemon_logs_each_move_of_an_upgrade_as_an_object(world: World) -> None:
    port = free_port()
    world.settings_more = f'listen: "127.0.0.1:{port}"\n'
    world.deploy_first("1.0.0")
    with daemon(world, "--log-format", "json", config=configured(world, poll="1s")) as running:
        running.until_runs("1.0.0")
        bump = world.bump("1.1.0")
        running.until_runs("1.1.0")
        token = token_for(running, "ada", "operator")
        body = {"environment": "production", "service": "api", "reason": FORGED}
        reply = call(port, "POST", "/upgrade/rollback", body, token=token)
        assert reply.status in (200, 202), reply
        running.until_runs("1.0.0")
        number = reply.headers["X-Request-Id"]
    lines: list[dict[str, Any]] = [json.loads(line) for line in running.log().splitlines()]
    moves = [line for line in lines if line.get("to") == "1.1.0" and line["revision"] == bump]
    phases = [line["phase"] for line in moves]
    assert phases[:4] == ["preparing", "applying", "verifying", "succeeded"]
    assert phases[-1] == "reverted"
    assert {(line["environment"], line["service"], line["from"]) for line in moves} == {
        ("production", "api", "1.0.0")
    }
    asked = [line for line in moves if line.get("request") == number]
    assert [line["phase"] for line in asked] == ["restoring", "reverting", "reverted"]
    assert len({line["operation"] for line in asked}) == 1
