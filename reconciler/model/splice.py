"""One pin, or one flag, changed in a file's text, and every other byte left as a person wrote it.

New text goes in at the old value's marks, one difference at a time; then the result is read again and must
say exactly what was meant. Where a layout cannot be spliced, a ruamel.yaml round trip is tried and verified
alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import msgspec
from msgspec import Struct

from reconciler.model.codec import encode
from reconciler.model.document import Document, read
from reconciler.model.errors import InputError, UgsError
from reconciler.model.node import Node

EDITS_MAX = 200

_COLON = re.compile(r"[ \t]*:")
_COMMA = re.compile(r"[ \t]*,[ \t]*")
_REST_OF_LINE = re.compile(r"[ \t]*,?[ \t]*(#[^\n]*)?\r?(?=\n)")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_RESERVED = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


class _Unspliceable(Exception):
    """A layout that this module does not know how to edit in place."""


class _Edit(Struct, frozen=True):
    """Put `text` in place of the characters `[start, end)`."""

    start: int
    end: int
    text: str


def pin_node(data: bytes, file: str, service: str) -> str | None:
    """The pin's value as canonical JSON, None where the file does not pin the service. Raises InputError."""
    pins = read(data, file).data.get("pins")
    return encode(pins[service]).decode() if isinstance(pins, dict) and service in pins else None


def set_pin(data: bytes, file: str, service: str, node: str) -> bytes:
    """The file with the pin's value replaced by `node` (JSON), or added. Raises InputError and UgsError."""
    return _with(read(data, file), "pins", service, msgspec.json.decode(node))


def remove_pin(data: bytes, file: str, service: str) -> bytes:
    """The file without the pin; `pins: {}` where it was the last. Raises InputError and UgsError."""
    return _without(read(data, file), "pins", service)


def set_version(data: bytes, file: str, service: str, version: str) -> bytes:
    """The file with another version in the pin, its other keys kept. Raises InputError and UgsError."""
    document = read(data, file)
    pin = _entries(document, "pins").get(service)
    return _with(document, "pins", service, pin | {"version": version} if isinstance(pin, dict) else version)


def set_flag(data: bytes, file: str, flag: str, setting: Any) -> bytes:
    """The file with another setting of the flag, a value or a mapping. Raises InputError and UgsError."""
    return _with(read(data, file), "flags", flag, setting)


def remove_flag(data: bytes, file: str, flag: str) -> bytes:
    """The file that does not set the flag. Raises InputError and UgsError."""
    return _without(read(data, file), "flags", flag)


def _with(document: Document, section: str, name: str, value: Any) -> bytes:
    return _rewritten(document, section, _entries(document, section) | {name: value}, name)


def _without(document: Document, section: str, name: str) -> bytes:
    entries = _entries(document, section)
    return _rewritten(document, section, {key: one for key, one in entries.items() if key != name}, name)


def _entries(document: Document, section: str) -> dict[str, Any]:
    entries = document.data.get(section)
    if entries is None:
        return {}
    if not isinstance(entries, dict):
        raise InputError(document.problem((section,), "this is not a mapping", "write `name: value` lines"))
    return entries


def _rewritten(document: Document, section: str, entries: dict[str, Any], name: str) -> bytes:
    """The file with these entries in its section and whose other data is what it was, in the least changed text."""
    goal: dict[str, Any] = document.data
    if encode(goal.get(section) or {}) != encode(entries):
        goal = goal | {section: entries}
    for rewrite in (spliced, _round_tripped):
        data = rewrite(document, goal, section)
        if data is not None and says(data, document.file, goal):
            return data
    raise UgsError(
        f"{document.place((section, name))}: {section}.{name} cannot be changed without changing more",
        "edit it by hand",
    )


def says(data: bytes, file: str, goal: dict[str, Any]) -> bool:
    try:
        return encode(read(data, file).data) == encode(goal)
    except InputError:
        return False


def spliced(document: Document, goal: dict[str, Any], _section: str = "") -> bytes | None:
    """One edit after another, each at marks that were just read, until nothing differs."""
    text = document.text
    for _ in range(EDITS_MAX):
        try:
            root = read(text.encode(), document.file).root
            edit = next(_Splicer(text).edits(root, goal), None)
        except (InputError, _Unspliceable):
            return None
        if edit is None:
            break
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text.encode()


class _Splicer:
    """Edits that bring one text nearer to what it should say. All positions are in characters."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.newline = "\r\n" if "\r\n" in text else "\n"

    def edits(self, node: Node, goal: dict[str, Any]) -> Iterator[_Edit]:
        """The differences between a mapping and the goal, each alone against this text."""
        for key, child in node.children.items():
            if key not in goal:
                yield self.removal(node, child)
            elif encode(child.data) == encode(goal[str(key)]):
                continue
            elif isinstance(child.data, dict) and isinstance(goal[str(key)], dict) and child.data:
                yield from self.edits(child, goal[str(key)])
            else:
                yield self.replacement(child, goal[str(key)])
        for key, value in goal.items():
            if key not in node.children:
                yield self.addition(node, f"{_key(key)}: {_flow(value)}")

    def replacement(self, node: Node, value: Any) -> _Edit:
        """Another value for a key: at the old one's marks, or as flow text after the colon."""
        if node.style == "block":
            colon, first = self.colon(node), next(iter(node.children.values()))
            above = self.text[colon : self.line_start(self.entry_start(first))]
            return _Edit(colon, self.line_end(node.end), f" {_flow(value)}{above.removesuffix(self.newline)}")
        if node.start == node.end:
            colon = self.colon(node)
            return _Edit(colon, colon, f" {_flow(value)}")
        end = node.start + len(self.text[node.start : node.end].rstrip())
        return _Edit(node.start, end, _styled(value, node.style))

    def removal(self, mapping: Node, entry: Node) -> _Edit:
        """An entry gone, with its lines and its own comment, or with its comma where it shares a line."""
        start, end = self.entry_start(entry), self.entry_end(entry)
        if mapping.style == "block" and len(mapping.children) == 1:
            return self.emptied(mapping, entry)
        if self.alone(start, end):
            return _Edit(self.line_start(start), self.text.index("\n", end) + 1, "")
        if comma := _COMMA.match(self.text, end):
            return _Edit(start, comma.end(), "")
        entries = list(mapping.children.values())
        before = entries.index(entry) - 1
        if before >= 0 and "#" not in self.text[self.entry_end(entries[before]) : start]:
            return _Edit(self.entry_end(entries[before]), end, "")
        return _Edit(start, end, "")

    def emptied(self, mapping: Node, entry: Node) -> _Edit:
        """The last entry of a block gone: `{}` after the mapping's own key, comments above the entry kept."""
        colon, start = self.colon(mapping), self.entry_start(entry)
        above = self.text[colon : self.line_start(start)]
        return _Edit(colon, self.line_end(self.entry_end(entry)), f" {{}}{above.removesuffix(self.newline)}")

    def addition(self, mapping: Node, entry: str) -> _Edit:
        """One more entry after the last, laid out like it."""
        if not mapping.children:
            return _Edit(mapping.start + 1, mapping.start + 1, entry)
        last = next(reversed(mapping.children.values()))
        start, end = self.entry_start(last), self.entry_end(last)
        lead = f"{self.newline}{self.text[self.line_start(start) : start]}"
        line_end = self.line_end(end)
        if not self.alone(start, end):
            if mapping.style == "block":
                raise _Unspliceable
            return _Edit(end, end, f", {entry}")
        if mapping.style == "block":
            return _Edit(line_end, line_end, f"{lead}{entry}")
        tail = self.text[end:line_end]
        return _Edit(
            end, line_end, f"{tail}{lead}{entry}," if _COMMA.match(tail) else f",{tail}{lead}{entry}"
        )

    def colon(self, entry: Node) -> int:
        """The position just after the colon of the entry's key."""
        match = _COLON.match(self.text, entry.key.end) if entry.key else None
        if match is None:
            raise _Unspliceable
        return match.end()

    def entry_start(self, entry: Node) -> int:
        return (entry.key or entry).start

    def entry_end(self, entry: Node) -> int:
        """Where the entry's text ends; an empty value ends at its colon, a block of text at its last line."""
        end = max(entry.end, self.colon(entry))
        return len(self.text[:end].rstrip())

    def alone(self, start: int, end: int) -> bool:
        """Whether nothing but its comma and comment shares an entry's lines."""
        indent = self.text[self.line_start(start) : start]
        return not indent.strip() and _REST_OF_LINE.match(self.text, end) is not None

    def line_start(self, position: int) -> int:
        return self.text.rfind("\n", 0, position) + 1

    def line_end(self, position: int) -> int:
        """The end of the line, before its line break."""
        end = self.text.index("\n", position)
        return end - 1 if self.text[end - 1] == "\r" else end


def _round_tripped(document: Document, goal: dict[str, Any], section: str) -> bytes | None:
    """The file as ruamel.yaml writes it again: comments stay, layout may not."""
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    def quoted(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: quoted(child) for key, child in value.items()}
        return DoubleQuotedScalarString(value) if isinstance(value, str) else value

    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 1_000_000
    written = StringIO()
    try:
        data = yaml.load(document.text.replace("\r\n", "\n"))
        entries = data[section] if data.get(section) is not None else {}
        for name in [name for name in entries if name not in goal[section]]:
            del entries[name]
        for name, value in goal[section].items():
            if encode(document.at((section, name))) != encode(value):
                entries[name] = quoted(value)
        data[section] = entries
        yaml.dump(data, written)
    except Exception:
        # Whatever the library trips over, a person edits instead: what it wrote would be verified anyway.
        return None
    text = written.getvalue()
    return (text.replace("\n", "\r\n") if "\r\n" in document.text else text).encode()


def _styled(value: Any, style: str) -> str:
    """A value in the quotes that the old one had, where they can hold it."""
    if isinstance(value, str):
        if style == "'" and not {"\n", "\r", "\t"} & set(value):
            return "'" + value.replace("'", "''") + "'"
        if not style and _WORD.fullmatch(value) and value.lower() not in _RESERVED:
            return value
    return _flow(value)


def _flow(value: Any) -> str:
    """A value on one line, every text in double quotes."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_key(key)}: {_flow(child)}" for key, child in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case float():
            return _decimal(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return (
        key if _WORD.fullmatch(key) and key.lower() not in _RESERVED else json.dumps(key, ensure_ascii=False)
    )


def _decimal(value: float) -> str:
    """A decimal without an exponent, which the reader would take for text."""
    text = f"{value:.15f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text
