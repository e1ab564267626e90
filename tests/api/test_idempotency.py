"""`Idempotency-Key`, over the socket: what is sent twice is done once, also by the next daemon."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.test_routes import ask
from tests.daemon_process import DaemonProcess, daemon
from tests.world import World, a_world

HOLD = {"environment": "production", "service": "api", "reason": "database move"}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("idempotency")) as world:
        world.deploy_first("1.0.0", "api")
        yield world


def keyed(
    served: DaemonProcess, key: str, path: str, body: object, *, actor: str = "ada"
) -> tuple[int, Any, str]:
    """Status, answer, and whether it was given before."""
    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.settimeout(60)
        connection.sock.connect(str(served.socket))
        headers = {"X-Ugs-Actor": actor, "Idempotency-Key": key}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers.get("Idempotency-Replayed", "")
    finally:
        connection.close()


def test_what_is_sent_again_is_done_once_and_outlives_the_daemon(fleet: World) -> None:
    with daemon(fleet) as served:
        served.until_runs("1.0.0")
        first = keyed(served, "k1", "/holds", HOLD)
        assert (first[0], first[2]) == (200, "")
        assert keyed(served, "k1", "/holds", HOLD) == (200, first[1], "true")
        status, told, _ = keyed(served, "k1", "/holds", HOLD | {"reason": "another"})
        assert (status, told["type"]) == (422, "urn:ugs:problem:idempotency-key-reused")
        assert told["remedy"]
        assert keyed(served, "k1", "/holds", HOLD, actor="bob")[1]["id"] != first[1]["id"], "his own key"
        assert keyed(served, "k2", "/holds", HOLD)[1]["id"] != first[1]["id"]
    with daemon(fleet) as served:
        served.until_serving()
        assert keyed(served, "k1", "/holds", HOLD) == (200, first[1], "true")
        assert len(ask(served, "GET", "/holds").body["holds"]) == 3


def test_what_was_refused_may_be_asked_again(fleet: World) -> None:
    with daemon(fleet) as served:
        served.until_serving()
        release = {"id": 12_345}
        assert keyed(served, "k3", "/holds/release", release)[0] in {404, 409}
        assert keyed(served, "k3", "/holds/release", release)[2] == ""


@pytest.mark.fault("AP-08")
def test_fifty_at_once_are_one(fleet: World) -> None:
    with daemon(fleet) as served, ThreadPoolExecutor(50) as pool:
        served.until_serving()
        before = len(ask(served, "GET", "/holds").body["holds"])
        answers = list(pool.map(lambda _: keyed(served, "k4", "/holds", HOLD), range(50)))
        assert {one[0] for one in answers} == {200}
        assert len({one[1]["id"] for one in answers}) == 1
        assert len(ask(served, "GET", "/holds").body["holds"]) == before + 1


def test_a_token_that_was_made_is_not_shown_again_and_not_made_again(fleet: World) -> None:
    with daemon(fleet) as served:
        served.until_serving()
        wanted = {"name": "ci", "grants": [{"role": "viewer"}]}
        status, made, _ = keyed(served, "k5", "/tokens", wanted)
        assert status == 200
        status, told, _ = keyed(served, "k5", "/tokens", wanted)
        assert (status, made["token"] in str(told)) == (409, False)
        assert [one["name"] for one in ask(served, "GET", "/tokens").body["tokens"]].count("ci") == 1
        database = b"".join(path.read_bytes() for path in fleet.state.glob("ugs.db*"))
        assert made["token"].encode() not in database


@pytest.mark.parametrize("key", ["", "x" * 101, "a b", "\u00e9"])
def test_a_key_that_is_none_is_refused(fleet: World, key: str) -> None:
    with daemon(fleet) as served:
        served.until_serving()
        assert keyed(served, key, "/holds", HOLD)[0] == 400
