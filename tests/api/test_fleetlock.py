"""The FleetLock server, as a machine that wants to reboot meets it: over TCP, by the published protocol."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.daemon_process import DaemonProcess, daemon
from tests.world import World, a_world

HEADER = {"fleet-lock-protocol": "true"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("fleetlock")) as made:
        made.settings_more = f'fleetlock: {{listen: "127.0.0.1:{port}", groups: {{default: 1, web: 2}}}}\n'
        made.deploy_first("1.0.0")
        yield made


@pytest.fixture(scope="module")
def served(world: World) -> Iterator[DaemonProcess]:
    with daemon(world) as running:
        running.until_serving()
        yield running


def post(port: int, path: str, body: object, headers: dict[str, str] = HEADER) -> tuple[int, dict[str, str]]:
    """The status, and what the server says."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"{}")


def client(name: str, group: str = "default") -> dict[str, dict[str, str]]:
    return {"client_params": {"id": name, "group": group}}


def test_a_slot_is_given_once_kept_over_a_kill_and_given_back(world: World, port: int) -> None:
    with daemon(world) as running:
        running.until_serving()
        assert post(port, "/v1/pre-reboot", client("m1")) == (200, {})
        assert post(port, "/v1/pre-reboot", client("m1")) == (200, {})  # recursive
        status, said = post(port, "/v1/pre-reboot", client("m2"))
        assert (status, said["kind"]) == (409, "failed_lock")
        assert said["value"] == "all 1 slots of default are taken: m1"
        running.kill()
    with daemon(world) as running:
        running.until_serving()
        assert post(port, "/v1/pre-reboot", client("m2"))[0] == 409
        assert post(port, "/v1/steady-state", client("m2"))[0] == 200  # has none, frees none
        assert post(port, "/v1/pre-reboot", client("m2"))[0] == 409
        assert post(port, "/v1/steady-state", client("m1"))[0] == 200
        assert post(port, "/v1/pre-reboot", client("m2"))[0] == 200
        assert post(port, "/v1/steady-state", client("m2"))[0] == 200


def test_groups_have_slots_of_their_own(served: DaemonProcess, port: int) -> None:
    assert [post(port, "/v1/pre-reboot", client(name, "web"))[0] for name in ("a", "b", "c")] == [
        200,
        200,
        409,
    ]
    assert post(port, "/v1/pre-reboot", client("a", "db")) == (
        400,
        {"kind": "unknown_group", "value": "there is no group db here"},
    )


@pytest.mark.parametrize(
    ("body", "headers", "kind"),
    [
        (client("m1"), {}, "missing_header"),
        (b"{", HEADER, "bad_body"),
        ({"client_params": {"id": "", "group": "web"}}, HEADER, "bad_body"),
        ({"client_params": {"id": "x", "group": "no group"}}, HEADER, "bad_body"),
        (client("x" * 20_000), HEADER, "bad_body"),
    ],
)
def test_what_is_not_the_protocol_is_refused(
    served: DaemonProcess, port: int, body: object, headers: dict[str, str], kind: str
) -> None:
    for path in ("/v1/pre-reboot", "/v1/steady-state"):
        status, said = post(port, path, body, headers)
        assert (status, said["kind"]) == (400, kind)
        assert said["value"]
