"""`ugs hold`, `ugs approve`, `ugs override`, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_process import DaemonProcess, configured, daemon, run_once, ugs
from tests.world import World, a_world

WAITS = """\
timezone: UTC
freezes: [{from: 2020-01-01, until: 2199-12-31, reason: later, except: [initial]}]
policy: {approvals: {major: 2}}
"""


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
def config(fleet: World) -> Iterator[Path]:
    with daemon(fleet) as served:
        until_waiting(served)
        yield fleet.folder / "ugs.yaml"


def until_waiting(served: DaemonProcess) -> None:
    served.until_serving()
    served.until(lambda: (seen := served.service()) and seen["phase"] == "waiting")


def said(config: Path, *arguments: str, by: str = "ada", code: int = 0) -> str:
    done = ugs(*arguments, "--config", config, environment={"LOGNAME": by})
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def answered(config: Path, *arguments: str, by: str = "ada") -> Any:
    return json.loads(said(config, *arguments, "--json", by=by))


def test_hold_list_release(config: Path) -> None:
    shown = said(config, "hold", "production", "api", "--reason", "database move", "--for", "4h")
    assert shown.startswith("production: api: held until 20")
    [made] = answered(config, "hold", "list")["holds"]
    assert shown.endswith(f" (hold {made['id']})\n")
    assert (made["owner"], made["reason"]) == ("ada", "database move")
    head, row = said(config, "hold", "list", "production").splitlines()
    assert head.split() == ["id", "environment", "service", "owner", "since", "until", "reason"]
    assert row.split()[:4] == [str(made["id"]), "production", "api", "ada"]
    assert row.endswith("  database move")
    number = str(made["id"])
    assert said(config, "hold", "release", number) == "production: api: is held by this no longer\n"
    assert answered(config, "hold", "list") == {"holds": []}
    assert f"no hold {number} in force; see `ugs hold list`" in said(
        config, "hold", "release", number, code=1
    )


def test_a_hold_of_all_without_an_end(config: Path) -> None:
    made = answered(config, "hold", "--reason", "audit", "production")
    assert (made["service"], made["until"]) == (None, None)
    number = str(made["id"])
    other = said(config, "hold", "add", "production", "--reason", "more")
    assert other == f"production: held until it is released (hold {made['id'] + 1})\n"
    row = said(config, "hold", "list").splitlines()[1].split()
    assert row[:4] == [number, "production", "-", "ada"]
    assert row[-2:] == ["-", "audit"]
    assert answered(config, "hold", "release", number) == made
    said(config, "hold", "release", str(made["id"] + 1))


def test_approve_list_withdraw(config: Path, fleet: World) -> None:
    shown = said(config, "approve", "production", "api", "--for", "7d", by="eve")
    [made] = answered(config, "approve", "list", "production")["approvals"]
    assert shown.startswith(
        f"production: api: 1.0.0 → 2.0.0, pinned by {fleet.tip()[:12]}, is approved until 20"
    )
    assert shown.endswith(f" (approval {made['id']})\n")
    row = said(config, "approve", "list").splitlines()[1]
    assert f"  {fleet.tip()[:12]}  eve  " in row
    number = str(made["id"])
    assert "eve has approved this already" in said(config, "approve", "production", "api", by="eve", code=1)
    assert (
        said(config, "approve", "withdraw", number) == "production: api: 2.0.0 is approved by eve no longer\n"
    )
    assert answered(config, "approve", "list") == {"approvals": []}


def test_override_list_confirm(config: Path) -> None:
    gate = ("--gate", "fit", "--reason", "it is short", "--for", "1h")
    shown = said(config, "override", "production", "api", *gate)
    [made] = answered(config, "override", "list")["overrides"]
    number = str(made["id"])
    assert shown.startswith("production: api: the gate fit is overridden until 20")
    assert shown.endswith(f"; a second person confirms it with `ugs override confirm {number}`\n")
    assert "somebody else confirms it" in said(config, "override", "confirm", number, code=1)
    confirmed = said(config, "override", "confirm", number, by="bob")
    assert confirmed == "production: api: the override of the gate fit by ada is confirmed\n"
    row = said(config, "override", "list", "production").splitlines()[1].split()
    assert row[:5] == [number, "production", "api", "fit", "ada"]
    assert "bob" in row


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hold", "production"), "--reason"),
        (("override", "production", "--reason", "why"), "--gate"),
        (("approve", "production"), "SERVICE"),
        (("hold", "release", "first"), "not a valid integer"),
    ],
)
def test_what_is_left_out_is_named(config: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in said(config, *arguments, code=2)


def test_what_the_daemon_refuses_is_one_message(config: Path) -> None:
    refused = said(config, "hold", "production", "--reason", "why", "--until", "2026-11-03T18:00", code=1)
    assert refused == (
        "ugs: '2026-11-03T18:00' is not a time with an offset; write for example 2026-11-03T18:00:00+01:00\n"
    )
    assert "ugs retry" in said(
        config, "override", "production", "--gate", "quarantine", "--reason", "why", "--for", "1h", code=1
    )


@pytest.mark.parametrize("verb", ["hold", "approve", "override"])
def test_a_verb_alone_shows_what_it_can_do(verb: str) -> None:
    for arguments in ((verb,), (verb, "--help"), (verb, "-h")):
        done = ugs(*arguments)
        shown = done.stdout + done.stderr
        assert "list" in shown
        assert "ENVIRONMENT" in shown
