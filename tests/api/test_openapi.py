"""The description of the API: valid, whole, and what is served."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from reconciler.api.app import ENDPOINTS
from reconciler.api.ofrep_paths import paths
from reconciler.api.openapi import OPEN, description
from reconciler.model.rights import Right

DESCRIBED: dict[str, Any] = json.loads(msgspec.json.encode(description(ENDPOINTS)))


def test_the_description_is_valid_openapi() -> None:
    assert list(OpenAPIV31SpecValidator(DESCRIBED).iter_errors()) == []
    assert DESCRIBED["openapi"].startswith("3.1.")


def test_every_route_is_described_with_its_right_and_its_refusals() -> None:
    described = {
        (method.upper(), path) for path, operations in DESCRIBED["paths"].items() for method in operations
    }
    open_ones = {(one.method, one.path) for one in OPEN}
    of_flags = {(method.upper(), path) for path, said in paths().items() for method in said}
    assert described == {(one.method, one.path) for one in ENDPOINTS} | open_ones | of_flags
    for one in ENDPOINTS:
        operation = DESCRIBED["paths"][one.path][one.method.lower()]
        assert operation["x-ugs-right"] in get_args(Right)
        assert operation["responses"].keys() >= {"400", "401", "403", "404", "429", "503"}, one.path
        assert str(one.status) in operation["responses"]


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [one["operationId"] for path in DESCRIBED["paths"].values() for one in path.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("one", [one for one in ENDPOINTS if one.method == "POST"], ids=lambda one: one.path)
def test_what_a_route_does_not_take_is_forbidden_by_its_schema(one: Any) -> None:
    body = DESCRIBED["paths"][one.path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    name = body.get("$ref", "").rpartition("/")[2]
    schema = DESCRIBED["components"]["schemas"][name] if name else body
    assert schema["additionalProperties"] is False
