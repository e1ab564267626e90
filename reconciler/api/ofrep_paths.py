"""The protocol's routes as the served description of the API shows them."""

from __future__ import annotations

from typing import Any

from reconciler.api.answer import JSON, PROBLEM

Json = dict[str, Any]
BASES = ("/flags/{environment}/ofrep/v1", "/ofrep/v1")
TEXT: Json = {"type": "string"}
EVALUATED: Json = {
    "type": "object",
    "required": ["key", "value", "variant", "reason", "metadata"],
    "properties": {
        "key": TEXT,
        "value": {"type": ["boolean", "string", "number", "object"]},
        "variant": TEXT,
        "reason": {"enum": ["STATIC", "TARGETING_MATCH", "SPLIT", "DEFAULT"]},
        "metadata": {
            "type": "object",
            "required": ["environment", "revision", "live"],
            "properties": {"environment": TEXT, "revision": TEXT, "live": {"type": "boolean"}},
        },
    },
}
FAILED: Json = {
    "type": "object",
    "required": ["errorCode", "errorDetails"],
    "properties": {
        "key": TEXT,
        "errorCode": {
            "enum": ["FLAG_NOT_FOUND", "PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "GENERAL"]
        },
        "errorDetails": TEXT,
    },
}
ALL: Json = {
    "type": "object",
    "required": ["flags"],
    "properties": {"flags": {"type": "array", "items": {"anyOf": [EVALUATED, FAILED]}}},
}
ASKED: Json = {
    "type": "object",
    "properties": {"context": {"type": ["object", "null"], "properties": {"targetingKey": TEXT}}},
}
CONFIGURATION: Json = {
    "type": "object",
    "required": ["name", "capabilities"],
    "properties": {"name": TEXT, "capabilities": {"type": "object"}},
}
REFUSALS = {
    "400": "What was sent cannot be read, or does not say whom it is about.",
    "401": "The token is missing, unknown, expired or revoked.",
    "404": "There is no such environment or flag, or not for this caller to see.",
    "408": "The body did not arrive in time.",
    "413": "The body is larger than any may be.",
    "429": "The caller asks too often.",
    "500": "It could not be answered.",
}
NOT_MODIFIED: Json = {"304": {"description": "The client has it already."}}
IF_NONE_MATCH: Json = {"$ref": "#/components/parameters/IfNoneMatch"}


def paths() -> Json:
    """By path: under each base, the three routes."""
    found: Json = {}
    for base in BASES:
        at = f"{base}/evaluate/flags"
        found[f"{at}/{{key}}"] = {
            "post": _operation(f"{at}/{{key}}", "What a client gets of a flag.", EVALUATED)
        }
        found[at] = {
            "post": _operation(at, "What a client gets of every flag.", ALL, tagged=True),
        }
        configured = f"{base}/configuration"
        found[configured] = {
            "get": _operation(configured, "Who serves flags here.", CONFIGURATION, tagged=True, asks=False)
        }
    return found


def _operation(path: str, summary: str, schema: Json, *, tagged: bool = False, asks: bool = True) -> Json:
    name = path.replace("{", "").replace("}", "").strip("/").replace("/", "_")
    parameters: list[Json] = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": TEXT}
        for part in path.split("/")
        if part.startswith("{")
    ]
    parameters += [IF_NONE_MATCH] if tagged else []
    refusals: Json = {
        status: {"description": text, "content": {JSON: {"schema": FAILED}}}
        for status, text in REFUSALS.items()
    }
    refusals["404"]["content"][PROBLEM] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    answered: Json = {"200": {"description": summary, "content": {JSON: {"schema": schema}}}}
    operation: Json = {
        "operationId": f"{'post' if asks else 'get'}_{name}",
        "summary": summary,
        "tags": ["ofrep"],
        "x-ugs-right": "see",
        "responses": answered | (NOT_MODIFIED if tagged else {}) | refusals,
    }
    if parameters:
        operation["parameters"] = parameters
    if asks:
        operation["requestBody"] = {"content": {JSON: {"schema": ASKED}}}
    return operation
