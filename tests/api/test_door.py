"""What takes long is not cut off, and too much at once is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec import Struct
from starlette.applications import Starlette

from reconciler.api import door as doors
from reconciler.api import endpoint as endpoints
from reconciler.api.door import Door
from reconciler.api.endpoint import Endpoint, Nothing
from reconciler.api.passage import Passage
from reconciler.model.errors import UgsError
from reconciler.model.rights import Caller
from tests.api.test_health import Said, daemon_of
from tests.api.test_health import door as by_role
from tests.world import World


class Done(Struct, frozen=True):
    done: bool


class Work:
    """What an endpoint does: it waits to be let go."""

    def __init__(self) -> None:
        self.free, self.begun, self.ended = asyncio.Event(), 0, 0

    async def do(self, _daemon: object, _asked: Nothing, _caller: Caller) -> object:
        self.begun += 1
        await self.free.wait()
        self.ended += 1
        return Done(done=True)

    async def fail(self, _daemon: object, _asked: Nothing, _caller: Caller) -> object:
        await self.free.wait()
        raise UgsError("it came to nothing", "look")


async def a_body() -> Any:
    return {"type": "http.request", "body": b"{}", "more_body": False}


async def posted(
    app: Passage, path: str, receive: Callable[[], Awaitable[Any]] = a_body, **headers: str
) -> Said:
    own = [(b"authorization", b"admin")]
    own += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": own,
        "client": ("192.0.2.1", 1),
        "server": ("ugs", 80),
        "scheme": "http",
        "http_version": "1.1",
        "state": {},
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return Said(sent[0]["status"], json.loads(sent[1]["body"]))


def served(world: World, work: Work) -> Passage:
    door = Door(daemon_of(world), by_role)
    ends = (
        Endpoint("POST", "/work", "It takes its time.", "operate", Nothing, work.do),
        Endpoint("POST", "/later", "So does this.", "see", Nothing, work.do, later="/upgrade/status"),
        Endpoint("POST", "/fail", "And this fails.", "see", Nothing, work.fail, later="/upgrade/status"),
    )
    return Passage(Starlette(routes=[door.route(one) for one in ends]))


async def test_what_takes_longer_goes_on_and_the_caller_is_told_where_to_look(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(doors, "ANSWER_S", 0.05)
    work = Work()
    app = served(world, work)
    said = await posted(app, "/later")
    assert said == (202, {"sentence": "it takes longer, and goes on", "look_at": "/upgrade/status"})
    assert (await posted(app, "/fail")).status == 202
    work.free.set()
    await world.eventually(lambda: work.ended == 1 and "it came to nothing" in caplog.text)


async def test_what_is_waited_for_too_long_is_unknown_under_its_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "WAIT_S", 0.05)
    work = Work()
    app = served(world, work)
    said = await posted(app, "/work", idempotency_key="k1")
    assert (said.status, "goes on" in said.body["detail"]) == (503, True)
    again = await posted(app, "/work", idempotency_key="k1")
    assert (again.status, again.body["type"]) == (409, "urn:ugs:problem:idempotency-interrupted")
    assert work.begun == 1
    work.free.set()
    await world.eventually(lambda: work.ended == 1)


async def test_too_much_at_once_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "AT_WORK_MAX", 2)
    work = Work()
    app = served(world, work)
    first = [asyncio.create_task(posted(app, "/work")) for _ in range(2)]
    await world.eventually(lambda: work.begun == 2)
    assert (await posted(app, "/work")).status == 503
    work.free.set()
    assert [one.status for one in await asyncio.gather(*first)] == [200, 200]
    assert (await posted(app, "/work")).status == 200


async def test_a_body_that_does_not_come_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "BODY_S", 0.05)
    app = served(world, Work())

    async def nothing() -> Any:
        await asyncio.Event().wait()

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    for receive, words in ((nothing, "to arrive"), (gone, "went away")):
        said = await posted(app, "/work", receive)
        assert (said.status, said.body["type"]) == (408, "urn:ugs:problem:too-slow")
        assert words in said.body["detail"]
        assert said.body["remedy"]
