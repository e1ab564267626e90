"""How the daemon is, asked while something hangs; and what machines ask."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from reconciler.api import application
from reconciler.api.health import PASS_S
from reconciler.api.identity import Unknown
from reconciler.api.passage import Passage
from reconciler.engine.daemon import Daemon
from reconciler.model.rights import Caller, RoleGrant
from tests.world import World

WITHIN_S = 1.0


class Said(NamedTuple):
    status: int
    body: Any


async def asked(app: Passage, path: str, *, who: str = "") -> Said:
    """One request, as a server hands it on, in the daemon's own loop."""
    headers = [(b"authorization", who.encode())] if who else []
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("192.0.2.1", 1),
        "server": ("ugs", 80),
        "scheme": "http",
        "http_version": "1.1",
        "state": {},
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    began = time.perf_counter()
    await app(scope, receive, send)
    assert time.perf_counter() - began < WITHIN_S
    return Said(sent[0]["status"], json.loads(sent[1]["body"]))


async def door(request: Any) -> Caller:
    """Whoever says his role, and where, has it."""
    role, _, place = request.headers.get("authorization", "").partition(" ")
    if not role:
        raise Unknown("who are you?", "say it")
    return Caller("ada", (RoleGrant(role, (place or "*",)),))


def parts(said: Said) -> dict[str, bool]:
    return {one["part"]: one["ok"] for one in said.body["parts"]}


async def test_who_is_unknown_learns_no_names(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    app = application(daemon_of(world), door)
    said = await asked(app, "/health/check")
    assert said.body.keys() == {"ready", "as_of", "parts", "environments"}
    assert (said.status, said.body["parts"], said.body["environments"]) == (200, None, None)
    whole = await asked(app, "/health/check", who="viewer")
    assert parts(whole) == {"git": True, "database": True, "outbox": True, "lease": True, "engine": True}
    [place] = whole.body["environments"]
    assert place == {
        "environment": "production",
        "services": [{"service": "api", "health": "healthy", "sync": "in-sync"}],
    }
    elsewhere = await asked(app, "/health/check", who="viewer staging")
    assert (elsewhere.body["parts"], elsewhere.body["environments"]) == ([], [])


async def test_whatever_hangs_the_answer_comes_within_a_second_and_says_so(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    app = application(daemon_of(world), door)
    released = threading.Event()
    world.driver.observe = lambda *_: released.wait(60) and {}
    hangs = asyncio.create_task(world.fleet.passes["production"].once())
    await world.eventually(lambda: world.fleet.passes["production"].turns.under_way_s() > 0)
    try:
        async with world.core.git_lock:  # as a fetch that hangs has it
            assert parts(await asked(app, "/health/check", who="admin"))["engine"] is True
            world.clock.move(timedelta(seconds=PASS_S + 1))
            said = await asked(app, "/health/check", who="admin")
            assert (said.status, parts(said)["engine"]) == (200, False)
            assert (await asked(app, "/livez")) == (200, {"alive": True})
            assert (await asked(app, "/readyz")).status == 200
    finally:
        released.set()
        await hangs


async def test_a_daemon_is_ready_once_it_has_fetched_and_looked(world: World) -> None:
    world.deploy_first("1.0.0")
    app = application(daemon_of(world), door)
    said = await asked(app, "/readyz")
    assert (said.status, said.body["type"]) == (503, "urn:ugs:problem:not-ready")
    assert "nothing has been fetched yet" in said.body["detail"]
    await world.fleet.refresh()
    assert "production was not looked at yet" in (await asked(app, "/readyz")).body["detail"]
    await world.settle()
    assert await asked(app, "/readyz") == (200, {"ready": True})


async def test_trouble_of_a_part_is_told_and_is_not_the_whole(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    app = application(daemon_of(world), door)
    world.fleet.passes["production"].trouble = "the engine is away"
    world.clock.move(timedelta(hours=1))
    said = await asked(app, "/health/check", who="viewer")
    assert (said.status, said.body["ready"]) == (200, True)
    assert (parts(said)["git"], parts(said)["engine"]) == (False, False)
    world.core.store.refused = "the disk is full"
    said = await asked(app, "/health/check", who="viewer")
    assert (said.status, said.body["ready"], parts(said)["database"]) == (503, False, False)
    assert (await asked(app, "/readyz")).status == 503


async def test_a_wrong_token_is_refused_here_too(world: World) -> None:
    app = application(daemon_of(world), pytest.fail)  # type: ignore[arg-type]  # nobody is asked
    assert (await asked(app, "/livez")).status == 200


def daemon_of(world: World) -> Daemon:
    """A daemon over the world's engine; its loops do not run."""
    daemon = Daemon(world.core)
    daemon.fleet = world.fleet
    return daemon
