"""The description of the API, OpenAPI 3.1, made from the very tables by which it answers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from reconciler import __version__
from reconciler.api import health, ofrep_paths
from reconciler.api.answer import JSON, PROBLEM, PROBLEMS, Problem
from reconciler.api.door import Accepted, Door
from reconciler.api.endpoint import Endpoint
from reconciler.api.idempotency import HEADER as IDEMPOTENCY_KEY
from reconciler.model.version import Version

Json = dict[str, Any]
FORM = "application/x-www-form-urlencoded"
REF = "#/components/schemas/{name}"
REFUSALS = (400, 401, 403, 404, 408, 409, 413, 422, 429, 503)
"""What any route may be answered with that asks who is there and reads what he says."""
OPEN_REFUSALS = (429, 503)
WEBHOOK_REFUSALS = (400, 401, 404, 408, 413, 429, 503)


class Heeded(Struct, frozen=True):
    """What comes of a delivery, in words."""

    did: str


class Described(Struct, frozen=True):
    """A route that is no `Endpoint`, for the description alone. `answers`: None where there is nothing in the answer.
    `takes`: what its path names. `form`: what a POST says is sent as a form with these fields."""

    method: str
    path: str
    summary: str
    answers: Any
    status: int = 200
    refusals: tuple[int, ...] = OPEN_REFUSALS
    takes: tuple[str, ...] = ()
    form: tuple[str, ...] = ()


OPEN: tuple[Described, ...] = (
    Described(
        "GET",
        "/health/check",
        "How the daemon is, and its parts and services.",
        health.HealthShape,
        refusals=(401, 429, 503),
    ),
    Described("GET", "/livez", "Whether the daemon lives.", health.Alive),
    Described("GET", "/readyz", "Whether it has come so far that it can work.", health.Ready),
    Described("GET", "/openapi.json", "This description.", Json),
    Described(
        "POST",
        "/webhook/{provider}",
        "A push, told by a forge that knows the secret.",
        Heeded,
        202,
        WEBHOOK_REFUSALS,
        ("provider",),
    ),
    Described(
        "POST",
        "/slack/interactivity",
        "A button that was pressed, told and signed by Slack; there where ugs.yaml has its signing secret.",
        None,
        refusals=(400, 401, 404, 408, 413, 429, 503),
        form=("payload",),
    ),
)


PARAMETERS: Json = {
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag of an answer that the client has.",
        "schema": {"type": "string"},
    },
    "IdempotencyKey": {
        "name": IDEMPOTENCY_KEY,
        "in": "header",
        "description": "The same request with the same key is carried out once within 24 hours.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[!-~]+$"},
    },
}


def description(endpoints: Sequence[Endpoint[Any]]) -> Json:
    """All routes that are documented."""
    kinds: list[Any] = [Problem, Accepted]
    kinds += [kind for one in endpoints for kind in (one.asks, one.answers)]
    kinds += [one.answers for one in OPEN if one.answers is not None]
    distinct = list({str(kind): kind for kind in kinds}.values())
    shown, components = msgspec.json.schema_components(distinct, schema_hook=_own, ref_template=REF)
    schemas = {str(kind): schema for kind, schema in zip(distinct, shown, strict=True)}
    paths: dict[str, Json] = {}
    for one in endpoints:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, schemas, components)
    for other in OPEN:
        paths.setdefault(other.path, {})[other.method.lower()] = _described(other, schemas)
    paths |= ofrep_paths.paths()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "UGS",
            "version": __version__,
            "description": "Anything that changes what runs goes through a commit, a gate or a person's verdict.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": _used(components, paths),
            "parameters": PARAMETERS,
            "responses": {_name(status): _refusal(status) for status in PROBLEMS},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Made by `ugs token create`, or a JSON Web Token of a provider that is trusted.",
                }
            },
        },
    }


def routes(endpoints: Sequence[Endpoint[Any]]) -> Any:
    """`/openapi.json`, open to all. It is made when it is first asked for: most daemons are never asked."""

    @cache
    def document() -> tuple[bytes, dict[str, str]]:
        body = msgspec.json.encode(description(endpoints))
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return body, {"ETag": tag, "Cache-Control": "public, max-age=300"}

    async def served(request: Request) -> Response:
        body, headers = await asyncio.to_thread(document)
        known = {
            one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")
        }
        if known & {headers["ETag"], "*"}:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=JSON)

    def made(door: Door) -> Sequence[BaseRoute]:
        return [Route("/openapi.json", door.guarded(served, limited=True))]

    return made


def _operation(one: Endpoint[Any], schemas: Mapping[str, Json], components: Mapping[str, Json]) -> Json:
    asks = _whole(schemas[str(one.asks)], components)
    in_path = [part[1:-1] for part in one.path.split("/") if part.startswith("{")]
    beside = {*in_path, *one.headers}
    parameters = [_parameter(name, "path", asks) for name in in_path]
    parameters += [_parameter(name, "header", asks, header) for name, header in one.headers.items()]
    operation: Json = {
        "operationId": _operation_id(one.method, one.path),
        "summary": one.summary,
        "tags": [one.path.split("/")[1]],
        "x-ugs-right": one.right,
        "responses": _responses(one, schemas),
    }
    if one.method == "GET":
        parameters += [
            _parameter(name, "query", asks) for name in asks.get("properties", {}) if name not in beside
        ]
        if one.media == JSON:
            parameters.append({"$ref": "#/components/parameters/IfNoneMatch"})
    else:
        parameters.append({"$ref": "#/components/parameters/IdempotencyKey"})
        body = _without(asks, beside) if beside else schemas[str(one.asks)]
        operation["requestBody"] = {
            "required": bool(asks.get("required")),
            "content": {JSON: {"schema": body}},
        }
    return operation | ({"parameters": parameters} if parameters else {})


def _responses(one: Endpoint[Any], schemas: Mapping[str, Json]) -> Json:
    said: Json = {str(one.status): _answer("It is so.", one.media, schemas[str(one.answers)])}
    if one.later:
        said["202"] = _answer("It takes longer, and goes on.", JSON, schemas[str(Accepted)])
    if one.method == "GET" and one.media == JSON:
        said["304"] = {"description": "The client has it already."}
    return said | {str(status): _refers(status) for status in REFUSALS}


def _described(one: Described, schemas: Mapping[str, Json]) -> Json:
    said: Json = {str(one.status): {"description": "It is so."}}
    if one.answers is not None:
        said = {str(one.status): _answer("It is so.", JSON, schemas[str(one.answers)])}
    if one.path == "/openapi.json":
        said["304"] = {"description": "The client has it already."}
    shown: Json = {
        "operationId": _operation_id(one.method, one.path),
        "summary": one.summary,
        "tags": [one.path.split("/")[1]],
        "security": [{}, {"token": []}] if one.path == "/health/check" else [],
        "responses": said | {str(status): _refers(status) for status in one.refusals},
    }
    if one.takes:
        shown["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in one.takes
        ]
    if one.method == "POST":
        shown["requestBody"] = {"content": {FORM if one.form else JSON: {"schema": _sent(one)}}}
    return shown


def _sent(one: Described) -> Json:
    """What a POST says; others than us say what is in it."""
    fields = {"properties": {name: {"type": "string"} for name in one.form}, "required": list(one.form)}
    return {"type": "object"} | (fields if one.form else {})


def _without(schema: Json, names: set[str]) -> Json:
    """An object without those of its keys."""
    properties = {name: value for name, value in schema["properties"].items() if name not in names}
    required = [name for name in schema.get("required", ()) if name not in names]
    return schema | {"properties": properties, "required": required}


def _parameter(name: str, place: str, asks: Json, header: str | None = None) -> Json:
    schema = {key: value for key, value in asks["properties"][name].items() if key != "default"}
    if "anyOf" in schema:  # in a query nothing is null
        kinds = [kind for kind in schema["anyOf"] if kind != {"type": "null"}]
        schema = kinds[0] if len(kinds) == 1 else {**schema, "anyOf": kinds}
    required = place == "path" or name in asks.get("required", ())
    return {"name": header or name, "in": place, "required": required, "schema": schema}


def _whole(schema: Json, components: Mapping[str, Json]) -> Json:
    """The schema itself, where it is only referred to."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return components[name] if name else schema


def _answer(text: str, media: str, schema: Json) -> Json:
    return {"description": text, "content": {media: {"schema": schema}}}


def _refusal(status: int) -> Json:
    headers = {"Retry-After": {"schema": {"type": "integer"}}} if status in {429, 503} else {}
    said = _answer(PROBLEMS[status][1], PROBLEM, {"$ref": REF.format(name="Problem")})
    return said | ({"headers": headers} if headers else {})


def _refers(status: int) -> Json:
    return {"$ref": f"#/components/responses/{_name(status)}"}


def _name(status: int) -> str:
    return PROBLEMS[status][0]


def _operation_id(method: str, path: str) -> str:
    words = path.replace("{", "").replace("}", "").replace(".", "_").strip("/").split("/")
    return "_".join((method.lower(), *words)).replace("-", "_")


def _own(kind: type) -> Json:
    if kind is Version:
        return {"type": "string"}
    raise NotImplementedError(kind)


def _used(components: Mapping[str, Json], paths: Mapping[str, Json]) -> Json:
    """Those schemas that something refers to."""
    used: set[str] = {"Problem"}
    ahead: Iterable[str] = _references(paths) | used
    while ahead:
        used |= set(ahead)
        ahead = {name for known in ahead for name in _references(components[known])} - used
    return {name: components[name] for name in sorted(used)}


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"].rpartition("/")[2]} if str(value.get("$ref", "")).startswith(REF[:21]) else set()
        return own.union(*map(_references, value.values()))
    if isinstance(value, list):
        return set[str]().union(*map(_references, value))
    return set()
