"""The rights table, walked: every route by every role at every place, over the network."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
import pytest

from reconciler.api.app import ENDPOINTS
from reconciler.api.endpoint import Endpoint
from reconciler.model.rights import Place, Role
from tests.api.network import token_for
from tests.daemon_process import DaemonProcess, daemon
from tests.world import a_world

RIGHTS: Mapping[Role, set[str]] = {
    "viewer": {"see"},
    "operator": {"see", "operate"},
    "approver": {"see", "approve"},
    "admin": {"see", "operate", "approve", "administer"},
}
SCOPES: Mapping[str, tuple[str, str]] = {
    "everything": ("*", "*"),
    "all of production": ("production", "*"),
    "this service": ("production", "api"),
    "another service": ("production", "web"),
    "another environment": ("staging", "*"),
}
"""The environments and services of a grant. Every question is about production/api, as far as it names a place."""
SAID: Mapping[str, Any] = {
    "environment": "production",
    "service": "api",
    "reason": "the walk",
    "gate": "window",
    "for": "1h",
    "id": 999_999,
    "name": "walker",
    "grants": [{"role": "viewer", "environments": ["production"], "services": ["api"]}],
    "applied": True,
    "flag": "walk",
    "value": "on",
    "from": "0.0.1",
}
ABSENT = {("/upgrade/plan", "from"), ("/migrations/settle", "id")}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[DaemonProcess]:
    with a_world(tmp_path_factory.mktemp("rights")) as world:
        world.settings_more = f'listen: "127.0.0.1:{port}"\n'
        world.deploy_first("1.0.0", "api")
        with daemon(world) as running:
            running.until_runs("1.0.0")
            yield running


@pytest.fixture(scope="module")
def tokens(served: DaemonProcess) -> dict[tuple[Role, str], str]:
    return {
        (role, scope): token_for(
            served, f"{role} of {scope}".replace(" ", "-"), role, environments=(places,), services=(services,)
        )
        for role in RIGHTS
        for scope, (places, services) in SCOPES.items()
    }


def said(one: Endpoint[Any]) -> dict[str, Any]:
    """What a caller says who asks about production/api."""
    fields = {each.encode_name: each for each in msgspec.structs.fields(one.asks)}
    body = {name: SAID[name] for name in fields if name in SAID and (one.path, name) not in ABSENT}
    return body | ({"id": "0001"} if one.path == "/migrations/settle" else {})


def place_of(one: Endpoint[Any], body: dict[str, Any]) -> Place | None:
    """What the question is about; None for the number of something that is not there."""
    asked = msgspec.convert(body, one.asks, strict=False)
    try:
        return one.place(cast(Any, SimpleNamespace()), asked)
    except AttributeError:  # it looks for the number in the daemon
        return None


def expected(one: Endpoint[Any], place: Place | None, role: Role, scope: str) -> int:
    """200 stands for whatever is answered to who may ask."""
    environments, services = SCOPES[scope]
    has = one.right in RIGHTS[role]
    if place is None:
        return 200 if has and scope == "everything" else 404
    if place.environment is not None and environments not in ("*", "production"):
        return 404
    if place.service is not None and services not in ("*", "api"):
        return 404
    covers = (place.environment is not None or environments == "*") and (
        place.service is not None or services == "*"
    )
    return 200 if has and (covers or one.part) else 403


def status(port: int, one: Endpoint[Any], body: dict[str, Any], token: str | None) -> tuple[int, str]:
    """The status and the problem's kind, without reading what may never end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    own = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        if one.method == "GET":
            connection.request("GET", f"{one.path}?{urlencode(body)}", headers=own)
        else:
            connection.request("POST", one.path, json.dumps(body), own)
        answer = connection.getresponse()
        told = answer.read() if "problem" in answer.headers.get("Content-Type", "") else b"{}"
        return answer.status, json.loads(told).get("detail", "")
    finally:
        connection.close()


@pytest.mark.fault("AP-06")
@pytest.mark.parametrize("one", ENDPOINTS, ids=lambda one: f"{one.method} {one.path}")
def test_every_role_at_every_place(
    served: DaemonProcess, port: int, tokens: dict[tuple[Role, str], str], one: Endpoint[Any]
) -> None:
    body = said(one)
    place = place_of(one, body)
    assert status(port, one, body, None)[0] == 401
    for (role, scope), token in tokens.items():
        wanted = expected(one, place, role, scope)
        answered, detail = status(port, one, body, token)
        if wanted == 200:
            assert answered not in {400, 401, 403, 404, 405, 429}, (role, scope, detail)
            assert answered < 500, (role, scope, detail)
        else:
            assert answered == wanted, (role, scope, answered, detail)


def test_to_start_past_a_gate_takes_the_role_that_makes_overrides(
    served: DaemonProcess, port: int, tokens: dict[tuple[Role, str], str]
) -> None:
    [one] = [one for one in ENDPOINTS if one.path == "/upgrade/execute"]
    body = said(one) | {"override": {"gate": "window", "for": "1h"}}
    for role in RIGHTS:
        answered, _ = status(port, one, body, tokens[role, "this service"])
        assert answered == (409 if role == "admin" else 403)


@pytest.mark.fault("AP-07")
def test_a_token_in_a_url_is_good_for_a_calendar_alone_and_only_where_it_may_do_nothing_else(
    served: DaemonProcess, port: int, tokens: dict[tuple[Role, str], str]
) -> None:
    routes = {one.path: one for one in ENDPOINTS if one.method == "GET"}
    feed, windows = routes["/windows.ics"], routes["/windows"]
    for role in RIGHTS:
        token = {"token": tokens[role, "all of production"]}
        assert status(port, feed, token, None)[0] == (200 if role == "viewer" else 403)
        assert status(port, windows, token, None)[0] == 401
    assert status(port, feed, {"token": "ugs_guessed"}, None)[0] == 401
    assert all(token not in served.log() for token in tokens.values())
