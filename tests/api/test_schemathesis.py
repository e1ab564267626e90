"""Schemathesis: whatever is asked, well or badly, is answered as the served description says, and never by a bug."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import booleans
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from reconciler.api.answer import JSON
from reconciler.api.app import ENDPOINTS
from reconciler.api.openapi import description
from tests.api.network import call, token_for
from tests.daemon_process import DaemonProcess, daemon
from tests.world import a_world

pytestmark = pytest.mark.slow

EXAMPLES = 12
"""Of each route, for each role, in the right way and in the wrong one."""
CALLERS = 12
"""So many tokens take turns, that nobody asks too often."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
STREAMS = {one.path for one in ENDPOINTS if one.media != JSON}
"""What is no JSON: some of it never ends."""
DESCRIBED = json.loads(json.dumps(description(ENDPOINTS)))
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
ASKED = [
    (path, method, mode)
    for path, item in sorted(DESCRIBED["paths"].items())
    for method, operation in item.items()
    for mode in MODES
    if path not in STREAMS
    # Where there is nothing to say, nothing can be said wrongly.
    if mode is GenerationMode.POSITIVE or operation.keys() & {"parameters", "requestBody"}
]
NAMED = {"environment": "production", "service": "api", "flag": "style", "key": "style"}


FLAG = "flags: {style: {default: plain, live: true}}\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[DaemonProcess]:
    with a_world(tmp_path_factory.mktemp("schemathesis")) as world:
        world.settings_more = f'listen: "127.0.0.1:{port}"\n'
        world.bump("1.0.0", more=FLAG)
        with daemon(world) as running:
            running.until_runs("1.0.0")
            yield running


@pytest.fixture(scope="module")
def schema(served: DaemonProcess, port: int) -> Any:
    """As it is served."""
    reply = call(port, "GET", "/openapi.json")
    assert reply.body == DESCRIBED
    tag = {"If-None-Match": reply.headers["ETag"]}
    assert call(port, "GET", "/openapi.json", headers=tag).status == 304
    loaded = schemathesis.openapi.from_dict(reply.body)
    loaded.config.update(base_url=f"http://127.0.0.1:{port}")
    return loaded


@pytest.fixture(scope="module", params=["admin", "viewer"])
def tokens(request: pytest.FixtureRequest, served: DaemonProcess) -> itertools.cycle[str]:
    """One after the other, for ever."""
    role = request.param
    return itertools.cycle([token_for(served, f"{role}-{number}", role) for number in range(CALLERS)])


def name_what_is_there(case: Any) -> None:
    """Ask about something that is there, where it is asked about anything."""
    for place in (case.query, case.body, case.path_parameters):
        if isinstance(place, dict):
            place.update({name: NAMED[name] for name in NAMED.keys() & place.keys()})


@pytest.mark.fault("AP-10")
@pytest.mark.parametrize(("path", "method", "mode"), ASKED)
def test_every_answer_is_as_described(
    schema: Any,
    tokens: itertools.cycle[str],
    served: DaemonProcess,
    path: str,
    method: str,
    mode: GenerationMode,
) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[path][method.upper()].as_strategy(generation_mode=mode), named=booleans())
    def answered(case: Any, named: bool) -> None:
        if named and mode is GenerationMode.POSITIVE:
            name_what_is_there(case)
        response = case.call(headers={"Authorization": f"Bearer {next(tokens)}"}, timeout=60)
        case.validate_response(response, checks=CHECKS)

    answered()
    assert "Traceback" not in served.log()
