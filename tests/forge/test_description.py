"""What the forges' descriptions refuse, and how the types that one of them is read from are read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.forge.description import Description
from tests.forge.typescript import Types

GITLAB = "/projects/ops%2Ffleet/merge_requests"
BITBUCKET = "/repositories/ops/fleet"
TYPES = """
export interface paths {
    readonly "/pulls": {
        /** @description This supports filtering and sorting. */
        readonly get?: never;
        /** @description { not a type } */
        readonly post: operations["open"];
    };
}
export interface components {
    schemas: {
        readonly pull: {
            readonly type: "pull";
        } & (Omit<components["schemas"]["object"], "type"> & (Readonly<Record<string, unknown>> & {
            readonly ends?: readonly ("here" | "there")[];
            readonly parent?: components["schemas"]["pull"];
            readonly size: number | null;
        }));
        readonly object: Readonly<Record<string, unknown>> & {
            readonly id?: string;
            readonly type: string;
        };
    };
}
export interface operations {
    readonly open: {
        readonly requestBody: components["schemas"]["pull"];
    };
}
"""


@pytest.mark.parametrize(
    ("kind", "asked", "query", "body", "problem"),
    [
        ("gitlab", f"GET {GITLAB}", {"state": "open"}, None, "state must not be open"),
        ("gitlab", f"GET {GITLAB}", {"label": "ugs"}, None, "the parameter label is not described"),
        ("gitlab", f"PUT {GITLAB}/3", {}, {"add_labels": "ugs,minor"}, "is not of types"),
        ("gitlab", f"PUT {GITLAB}/3", {}, {"add_label": ["ugs"]}, "add_label is not described"),
        ("gitlab", f"PUT {GITLAB}/3", {}, {"add_labels": ["ugs"]}, ""),
        ("gitlab", f"PATCH {GITLAB}/3", {}, {}, "is not described"),
        ("bitbucket", f"GET {BITBUCKET}/pullrequests", {"state": "OPEN,MERGED"}, None, ""),
        ("bitbucket", f"GET {BITBUCKET}/pullrequests", {"state": "OPEN,CLOSED"}, None, "must not be CLOSED"),
        ("bitbucket", f"POST {BITBUCKET}/pullrequests", {}, {"title": "Bump"}, '"source" is a required'),
        ("bitbucket", f"PUT {BITBUCKET}/pullrequests/3", {}, {"source": {"branch": "ugs"}}, "is not of type"),
        ("bitbucket", f"PUT {BITBUCKET}/commit/1f/reports/ugs", {}, {"result": "ERROR"}, "is not one of"),
    ],
)
def test_a_request_that_is_not_as_described_is_refused(
    kind: str, asked: str, query: dict[str, str], body: Any, problem: str
) -> None:
    method, _, path = asked.partition(" ")
    said = Description(kind).problem(method, path, query, body)
    assert problem in said
    assert bool(problem) == bool(said)


def test_types_are_read_as_the_schemas_that_they_were_made_from() -> None:
    types = Types(TYPES)
    assert types.member("paths", "/pulls")["properties"]["post"]["properties"]["requestBody"] == {
        "type": "object",
        "properties": {
            "type": {"const": "pull"},
            "id": {"type": "string"},
            "ends": {"type": "array", "items": {"enum": ["here", "there"]}},
            "parent": {},
            "size": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
        "required": ["type", "size"],
    }
    assert "filtering and sorting" in types.words("paths", "/pulls", "get")
    assert "filtering" not in types.words("paths", "/pulls", "post")
