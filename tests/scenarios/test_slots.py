"""Upgrades that need a slot: from the daemon's own server, and from another one, which may be full, or gone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reconciler.model.slots import PRE_REBOOT, Hold, Rule
from reconciler.model.upgrade import Phase
from tests.world import World

OWN = "fleetlock: {groups: {default: 1}}\n"
NEEDED = "policy: {slots: {group: default}}\n"
NAME = "ugs/h1/production/api"


class LockServer:
    """Another FleetLock server, with one slot."""

    def __init__(self) -> None:
        self.holder = ""
        self.asked: list[tuple[str, str]] = []
        self.broken = False
        lock = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.headers["fleet-lock-protocol"] == "true"
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, said = lock.answer(self.path, body["client_params"]["id"])
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(said).encode() if said else b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def answer(self, path: str, client: str) -> tuple[int, dict[str, str]]:
        self.asked.append((path.rpartition("/")[2], client))
        if self.broken:
            return 500, {"kind": "internal_error", "value": "no quorum"}
        if path == "/v1/steady-state":
            self.holder = "" if self.holder == client else self.holder
            return 200, {}
        if self.holder in ("", client):
            self.holder = client
            return 200, {}
        return 404, {"kind": "failed_lock", "value": f"held by {self.holder}"}


@pytest.fixture
def lock() -> Iterator[LockServer]:
    made = LockServer()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def needs(world: World, url: str | None = None) -> None:
    world.host = "h1"
    if url:
        world.settings_more += f'fleetlock: {{allow: ["{url}"]}}\n'
        world.more = f'policy: {{slots: {{group: default, url: "{url}"}}}}\n'
    else:
        world.settings_more += OWN
        world.more = NEEDED


async def test_an_upgrade_waits_for_the_slot_of_a_machine_that_reboots_and_gives_its_own_back(
    world: World,
) -> None:
    needs(world)
    world.core.store.take_slot("default", "machine-7", 1)
    world.deploy_first("1.0.0")
    await world.settle()
    assert world.phases() == ["waiting"]
    assert "no slot of default: all 1 slots of default are taken: machine-7" in world.view().sentence
    world.core.store.give_slot_back("default", "machine-7")
    world.clock.move(timedelta(seconds=6))
    await world.settle()
    assert world.answers() == "1.0.0"
    assert world.core.store.held_slots("production") == []
    assert world.core.store.take_slot("default", "machine-7", 1) is None


async def test_a_slot_is_kept_while_the_upgrade_is_under_way_and_after_it_failed_given_back(
    world: World, lock: LockServer
) -> None:
    needs(world, lock.url)
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy", soak="2s")
    await world.reach(Phase.VERIFYING)
    assert lock.holder == NAME
    await world.settle()
    assert world.answers() == "1.0.0"
    assert lock.holder == ""


async def test_a_server_that_is_full_or_broken_closes_the_gate_with_its_own_words(
    world: World, lock: LockServer
) -> None:
    needs(world, lock.url)
    lock.holder = "machine-7"
    world.deploy_first("1.0.0")
    await world.settle()
    assert "no slot of default: held by machine-7" in world.view().sentence
    [gate] = [gate for gate in world.fleet.passes["production"].told["api"][1] if not gate.open]
    assert (gate.gate, gate.opened_by) == ("concurrency", "a slot of default that is given back")
    lock.broken = True
    world.clock.move(timedelta(seconds=6))
    await world.settle()
    assert "no quorum" in world.view().sentence
    lock.broken, lock.holder = False, ""
    world.clock.move(timedelta(seconds=6))
    await world.settle()
    assert world.answers() == "1.0.0"


async def test_a_slot_that_a_dead_daemon_held_is_given_back_first(world: World, lock: LockServer) -> None:
    needs(world, lock.url)
    world.core.store.hold_slot(Hold("production", "api", "0123456789abcdef", Rule("default", lock.url)))
    lock.holder = NAME
    world.deploy_first("1.0.0")
    await world.settle()
    assert lock.asked[:2] == [("steady-state", NAME), ("pre-reboot", NAME)]


async def test_the_window_is_looked_at_again_after_a_slot_was_waited_for(
    world: World, lock: LockServer
) -> None:
    needs(world, lock.url)
    zone = 'timezone: UTC\nwindows: {initial: [{cron: "* * * * *", duration: 20s}]}\n'
    world.more += zone
    world.deploy_first("1.0.0")
    world.clock.move(timedelta(seconds=60 - world.clock.now().second))
    own = LockServer.answer

    def slow(path: str, client: str) -> tuple[int, dict[str, str]]:
        if path == PRE_REBOOT:
            world.clock.move(timedelta(seconds=30))
        return own(lock, path, client)

    lock.answer = slow  # type: ignore[method-assign] # it takes its time
    await world.fleet.refresh()
    await world.a_pass()
    assert "the initial window opens" in world.view().sentence
    await world.a_pass()
    assert lock.holder == ""


async def test_only_servers_that_are_allowed_are_asked(world: World, lock: LockServer) -> None:
    needs(world, lock.url)
    world.settings_more = 'fleetlock: {allow: ["https://lock.example/"]}\n'
    world.deploy_first("1.0.0")
    await world.settle()
    assert "is not under `fleetlock.allow` in ugs.yaml" in world.view().sentence
    assert lock.asked == []


async def test_a_group_that_is_not_there_is_said(world: World) -> None:
    needs(world)
    world.more = "policy: {slots: {group: web}}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    assert "no slot of web: there is no group web here" in world.view().sentence
