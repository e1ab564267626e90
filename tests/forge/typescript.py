"""Reads types that openapi-typescript generates from an API's description back into schemas: what a request may hold
is said in a small and regular part of the language, and is read, never run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

TOKEN = re.compile(r'(?:\s|/\*.*?\*/)*("(?:[^"\\]|\\.)*"|[\w$.]+|\S)', re.DOTALL)
SCALARS = {"string": "string", "number": "number", "boolean": "boolean", "null": "null"}
Schema = dict[str, Any]


class Types:
    """`text`: a file of types. Optional members are what a schema does not require."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._open: list[str] = []
        """The schemas that are being read, outermost first."""

    def member(self, interface: str, name: str, indent: int = 4) -> Schema:
        """What stands under a name in an interface of the file."""
        begin = self._text.index(f"export interface {interface} {{")
        key = re.compile(rf'^ {{{indent}}}(?:readonly )?"?{re.escape(name)}"?\??: ', re.MULTILINE)
        found = key.search(self._text, begin)
        assert found, f"{interface} has no {name}"
        return _Reader(self, self._text, found.end()).union()

    def words(self, interface: str, name: str, member: str) -> str:
        """What is said for people before a member of what stands under that name."""
        begin = self._text.index(
            f'    readonly "{name}": {{', self._text.index(f"export interface {interface} {{")
        )
        end = self._text.index(f"\n        readonly {member}", begin)
        return self._text[self._text.rindex("/**", begin, end) : end]

    def schema(self, name: str) -> Schema:
        """One of the named schemas, which stands for anything where it is a part of itself."""
        if name in self._open:
            return {}
        self._open.append(name)
        try:
            return self.member("components", name, 8)
        finally:
            self._open.pop()


class _Reader:
    """One type, token by token."""

    def __init__(self, types: Types, text: str, begin: int) -> None:
        self._types = types
        self._tokens = _tokens(text, begin)
        self._next = next(self._tokens)

    def _take(self, wanted: str = "") -> str:
        token = self._next
        assert wanted in ("", token), f"{wanted} is wanted, not {token}"
        self._next = next(self._tokens, "")
        return token

    def _taken(self, token: str) -> bool:
        if self._next != token:
            return False
        self._take()
        return True

    def union(self) -> Schema:
        found = [self._intersection()]
        while self._taken("|"):
            found.append(self._intersection())
        if len(found) == 1:
            return found[0]
        if all("const" in one for one in found):
            return {"enum": [one["const"] for one in found]}
        return {"anyOf": found}

    def _intersection(self) -> Schema:
        found = self._several()
        while self._taken("&"):
            found = _both(found, self._several())
        return found

    def _several(self) -> Schema:
        found = self._one()
        while self._taken("["):
            if self._taken("]"):
                found = {"type": "array", "items": found}
            else:
                name = json.loads(self._take())
                self._take("]")
                found = found["properties"][name] if "properties" in found else self._indexed(found, name)
        return found

    def _indexed(self, found: Schema, name: str) -> Schema:
        """`components["schemas"]["account"]`, `operations["getReport"]`."""
        place = found["place"]
        if place == "operations":
            return self._types.member(place, name)
        return self._types.schema(name) if place == "schemas" else {"place": name}

    def _one(self) -> Schema:
        token = self._take()
        match token:
            case "readonly":
                return self._one()
            case "(":
                found = self.union()
                self._take(")")
                return found
            case "{":
                return self._object()
            case "components" | "operations":
                return {"place": token}
            case "Readonly" | "Omit" | "Record":
                return self._made(token)
            case _ if token[0] == '"':
                return {"const": json.loads(token)}
            case _ if token in SCALARS:
                return {"type": SCALARS[token]}
            case "unknown" | "never":
                return {"not": {}} if token == "never" else {}
            case _:
                raise AssertionError(f"not read: {token}")

    def _made(self, maker: str) -> Schema:
        self._take("<")
        found = self.union()
        without = self.union()["const"] if maker == "Omit" and self._taken(",") else ""
        if maker == "Record":
            self._take(",")
            self.union()
            found = {"type": "object"}
        self._take(">")
        if without:
            found = found | {
                "properties": {key: one for key, one in found["properties"].items() if key != without},
                "required": [one for one in found["required"] if one != without],
            }
        return found

    def _object(self) -> Schema:
        made: Schema = {"type": "object", "properties": {}, "required": []}
        while not self._taken("}"):
            self._taken("readonly")
            if self._taken("["):  # [name: string]: any other member
                while self._take() != "]":
                    pass
                self._take(":")
                self.union()
            else:
                name = self._take()
                name = json.loads(name) if name[0] == '"' else name
                optional = self._taken("?")
                self._take(":")
                made["properties"][name] = self.union()
                if not optional:
                    made["required"].append(name)
            self._take(";")
        return made


def _both(one: Schema, other: Schema) -> Schema:
    return {
        "type": "object",
        "properties": one.get("properties", {}) | other.get("properties", {}),
        "required": [*one.get("required", []), *other.get("required", [])],
    }


def _tokens(text: str, begin: int) -> Iterator[str]:
    for found in TOKEN.finditer(text, begin):
        yield found[1]
