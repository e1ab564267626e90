"""The packaged JSON Schemas: a fast gate, and an explanation in plain words of what it refused."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, Literal

import jsonschema_rs
from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.document import Document, Path
from reconciler.model.errors import InputError, Problem
from reconciler.model.thin import Thin

Kind = Literal["release", "environment", "pins", "ugs"]

KEPT: frozenset[Kind] = frozenset({"release", "environment", "pins"})
"""Schemas and gates for files that are many. ugs.yaml is read once: those for it, a megabyte, are let go again."""
PROBLEMS_MAX = 20
SMALL_CHARACTERS = 1 << 13
"""What is not larger is explained as it stands, which takes some milliseconds."""
PINS_KEYS = ("environment", "pins")
_ECHO_MAX = 40

_WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


def check(document: Document, kind: Kind) -> None:
    """Raise InputError with every problem (at most 20) when the document does not fit its schema."""
    if _gate(kind).is_valid(document.data):
        return
    problems: set[Problem] = set()
    if len(document.text) > SMALL_CHARACTERS:
        known = _schema(kind).get("properties", PINS_KEYS)
        thin = Thin(document.data, _gate(kind).is_valid, tuple(known), kept_max=PROBLEMS_MAX)
        problems = _some(_explained(document, kind, thin))
    # Too much may have been cut away, where nothing is right.
    problems = problems or _some(_explained(document, kind))
    raise InputError(*sorted(problems)[:PROBLEMS_MAX])


def _some(problems: Iterable[Problem]) -> set[Problem]:
    """One mistake may break several rules in the same words, and a hostile file any number of them."""
    return set(islice(problems, 10 * PROBLEMS_MAX))


def text(kind: Literal["release", "environment", "ugs"]) -> str:
    """The schema as published: packed into the wheel, or beside the package in a source checkout."""
    package = files("reconciler")
    packed = package / "schemas" / f"{kind}.json"
    source = packed if packed.is_file() else package / ".." / "schemas" / f"{kind}.json"
    return source.read_text(encoding="utf-8")


def _schema(kind: Kind) -> dict[str, Any]:
    return _kept_schema(kind) if kind in KEPT else _kept_schema.__wrapped__(kind)


def _gate(kind: Kind) -> jsonschema_rs.Draft202012Validator:
    return _kept_gate(kind) if kind in KEPT else _kept_gate.__wrapped__(kind)


@cache
def _kept_schema(kind: Kind) -> dict[str, Any]:
    if kind == "pins":
        environment = _schema("environment")
        return {"$schema": environment["$schema"], "$ref": "#/$defs/pins_file", "$defs": environment["$defs"]}
    schema: dict[str, Any] = json.loads(text(kind))
    return schema


@cache
def _kept_gate(kind: Kind) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(_schema(kind))


class _Refusal(Struct, frozen=True):
    """One rule that a value breaks: the rule's name and argument, and the part of the schema it stands in."""

    path: Path
    rule: str
    limit: Any
    value: Any
    schema: dict[str, Any]
    of_key: bool

    @property
    def title(self) -> str:
        return str(self.schema.get("title", ""))


def _refusals(data: Any, kind: Kind) -> Iterator[_Refusal]:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    # An empty registry: nothing is ever fetched.
    for error in Draft202012Validator(_schema(kind), registry=Registry()).iter_errors(data):
        schema = error.schema if isinstance(error.schema, dict) else {}
        of_key = "propertyNames" in error.absolute_schema_path
        path = (*error.absolute_path, str(error.instance)) if of_key else tuple(error.absolute_path)
        yield _Refusal(path, error.validator, error.validator_value, error.instance, schema, of_key)


def _explained(document: Document, kind: Kind, thin: Thin | None = None) -> Iterator[Problem]:
    for found in _refusals(thin.data if thin else document.data, kind):
        refusal = replace(found, path=thin.path(found.path)) if thin else found
        if refusal.of_key:
            message = f"this is not {refusal.title}"
            yield document.problem(refusal.path, message, _example(refusal.schema), at_key=True)
        elif refusal.rule == "additionalProperties":
            yield from _unknown_keys(document, refusal)
        elif refusal.rule == "required":
            yield from _missing_keys(document, kind, refusal)
        else:
            yield _misfit(document, refusal)


def _unknown_keys(document: Document, refusal: _Refusal) -> Iterator[Problem]:
    known = sorted(refusal.schema.get("properties", {}))
    for key in sorted(set(refusal.value) - set(known)):
        path = (*refusal.path, key)
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        yield document.problem(
            path, "this key is unknown", f"{hint}known here: {', '.join(known)}", at_key=True
        )


def _missing_keys(document: Document, kind: Kind, refusal: _Refusal) -> Iterator[Problem]:
    properties = refusal.schema.get("properties", {})
    for key in refusal.limit:
        if key not in refusal.value:
            schema = properties.get(key, {})
            if "$ref" in schema:
                schema = _schema(kind)["$defs"][schema["$ref"].rpartition("/")[2]]
            remedy = _example(schema, key) or f"add `{key}: ...`"
            yield document.problem(refusal.path, f"the key `{key}` is missing", remedy)


def _misfit(document: Document, refusal: _Refusal) -> Problem:
    """A value that is there and wrong: by type, choice, form, or size."""
    path, limit = refusal.path, refusal.limit
    match refusal.rule:
        case "type":
            return _mistyped(document, refusal)
        case "enum":
            return document.problem(path, "this value is unknown", f"write {' or '.join(limit)}")
        case "pattern":
            return document.problem(path, f"this is not {refusal.title}", _example(refusal.schema))
        case "minimum":
            return document.problem(path, "this number is too small", f"write {limit} or more")
        case "maximum":
            return document.problem(path, "this number is too large", f"write {limit} or less")
        case "minLength" | "minItems" | "minProperties":
            return document.problem(path, "this must not be empty", "fill it, or remove the key")
        case _:
            return document.problem(path, "this is too long", f"at most {limit} are allowed")


def _mistyped(document: Document, refusal: _Refusal) -> Problem:
    path, raw = refusal.path, document.raw(refusal.path)
    plain = not isinstance(refusal.value, (dict, list, str)) and 0 < len(raw) <= _ECHO_MAX
    if refusal.title.startswith("a version") and plain:
        return document.problem(path, "versions must be quoted", f'write "{raw}"')
    if refusal.title:
        return document.problem(path, f"this is not {refusal.title}", _example(refusal.schema))
    names = [refusal.limit] if isinstance(refusal.limit, str) else refusal.limit
    message = f"expected {' or '.join(_WORDS[name] for name in names)}, found {_found(refusal.value)}"
    if "string" in names and plain:
        return document.problem(path, message, f'quote it: "{raw}"')
    return document.problem(path, message, _example(refusal.schema) or "correct it")


def _found(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return _WORDS[names.get(type(value), "null")]


def _example(schema: dict[str, Any], key: str = "") -> str:
    """What to write instead, from the schema's own examples; empty when it has none."""
    examples = schema.get("examples")
    if not examples:
        return ""
    written = json.dumps(examples[0])
    return f"add it, for example `{key}: {written}`" if key else f"write for example {written}"
