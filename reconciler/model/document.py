"""Bytes of a YAML file to plain data in which every value knows its place.

The reading rules of the repository format live here. Refusal comes before expensive work: sizes and
characters are checked before parsing, nesting and aliases while the events come in.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from _ruamel_yaml import CParser  # type: ignore[import-not-found]  # a C extension without stubs
from msgspec import Struct
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from reconciler.model.errors import InputError, Place, Problem

SIZE_BYTES_MAX = 1 << 20
DEPTH_MAX = 20
NODES_MAX = 12_000
DURATION_S_MAX = 366 * 86_400.0

# Control characters, line breaks that only some parsers know, and what changes how a line looks or hides in
# it: bidirectional controls, zero-width characters, byte order marks, tag characters.
UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
_LONE_RETURN = re.compile(r"\r(?!\n)")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,14})\.[0-9]{1,15}")
_UNUSABLE_NUMBER = re.compile(r"[-+]?(\.(inf|nan)|[0-9]{19,}|[0-9]*\.[0-9]*)", re.IGNORECASE)
_DURATION = re.compile(r"(0|[1-9][0-9]{0,8})(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}

Path = tuple[str | int, ...]


class Node(Struct, frozen=True):
    """One value: the data, the span `[start, end)` of its text in characters, and its place from 1.

    `style` is a quote, `|`, `>` or empty (plain) for a scalar; `block` or `flow` for a mapping or list.
    """

    data: Any
    start: int
    end: int
    line: int
    column: int
    style: str
    key: Node | None = None
    children: dict[str | int, Node] = {}


class Document(Struct, frozen=True):
    """One YAML file that was read: its text, and its values with their places."""

    file: str
    text: str
    root: Node

    @property
    def data(self) -> Any:
        """Dicts with text keys, lists, and text, whole numbers, decimals, booleans or None."""
        return self.root.data

    def node(self, path: Path) -> Node:
        """The node at `path`, or the nearest one above it where the path ends early."""
        node = self.root
        for step in path:
            if step not in node.children:
                break
            node = node.children[step]
        return node

    def place(self, path: Path) -> Place:
        """Where the value at `path` stands."""
        return self._place(self.node(path))

    def key_place(self, path: Path) -> Place:
        """Where the key of `path` stands; the value's place where there is no key."""
        node = self.node(path)
        return self._place(node.key or node)

    def quoted(self, path: Path) -> bool:
        """Whether the value at `path` is a text in quotes."""
        return self.node(path).style in {'"', "'"}

    def raw(self, path: Path) -> str:
        """The value's text as it stands in the file."""
        node = self.node(path)
        return self.text[node.start : node.end]

    def problem(self, path: Path, message: str, remedy: str, *, at_key: bool = False) -> Problem:
        """A problem with the value (or the key) at `path`."""
        place = self.key_place(path) if at_key else self.place(path)
        return Problem(place, dotted(path), message, remedy)

    def _place(self, node: Node) -> Place:
        return Place(self.file, node.line, node.column)


def read(data: bytes, file: str) -> Document:
    """Read a file of the repository. Raises InputError, and nothing else, where the reading rules refuse."""
    text = _text(data, file)
    try:
        return Document(file, text, _Reader(text, file).document())
    except YAMLError as error:
        mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        _refuse(place, f"this is not YAML: {what or 'it cannot be parsed'}", "mend the syntax here")


def dotted(path: Path) -> str:
    """A path for people: `health.probes[0].http`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{_short(step)}" for step in path).lstrip(".")


def seconds(text: str) -> float:
    """The seconds of a duration: `500ms`, `30s`, `5m`, `4h`, `7d`. Raises ValueError, with a message."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("this is not a duration such as 500ms, 30s, 5m, 4h or 7d")
    duration_s = int(match[1]) * _UNIT_S[match[2]]
    if duration_s > DURATION_S_MAX:
        raise ValueError("a duration is at most 366d")
    return duration_s


def _text(data: bytes, file: str) -> str:
    """The file's text, once its size, encoding and characters are known to be safe."""
    if len(data) > SIZE_BYTES_MAX:
        _refuse(Place(file), f"the file is larger than {SIZE_BYTES_MAX} bytes", "split it")
    if data.startswith(b"\xef\xbb\xbf"):
        _refuse(Place(file), "the file starts with a byte order mark", "save it as UTF-8 without one")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        _refuse(Place(file, line), "the file is not UTF-8", "save it as UTF-8")
    if match := UNSAFE.search(text) or _LONE_RETURN.search(text):
        line_start = text.rfind("\n", 0, match.start()) + 1
        place = Place(file, text.count("\n", 0, match.start()) + 1, match.start() - line_start + 1)
        _refuse(place, f"the invisible character U+{ord(match[0]):04X} is not allowed", "remove it")
    if not text.strip():
        _refuse(Place(file), "the file is empty", "fill it or remove it")
    if not text.endswith("\n"):
        place = Place(file, text.count("\n") + 1)
        _refuse(place, "the last line does not end in a newline: the file may be cut off", "end it with one")
    return text


class _Reader:
    """One pass over libyaml's events. An event's position is known before anything is built from it."""

    def __init__(self, text: str, file: str) -> None:
        self.parser = CParser(text)
        self.file = file
        self.nodes = 0

    def document(self) -> Node:
        self.parser.get_event()  # the start of the stream
        event = self.parser.get_event()
        if isinstance(event, StreamEndEvent):
            self.refuse(event, "the file is empty", "fill it or remove it")
        if isinstance(event, DocumentStartEvent) and (event.version or event.tags):
            self.refuse(event, "directives are not allowed", "remove the line that starts with %")
        event = self.parser.get_event()
        if not isinstance(event, MappingStartEvent):
            self.refuse(event, "the file must hold a mapping", "write `key: value` lines")
        root = self.node(event, depth=1)
        self.parser.get_event()  # the end of the document
        event = self.parser.get_event()
        if not isinstance(event, StreamEndEvent):
            self.refuse(event, "the file holds more than one document", "split it into files")
        return root

    def guard(self, event: Any, depth: int) -> None:
        """Refuse what nobody may write anywhere, before anything inside it is read."""
        self.nodes += 1
        if self.nodes > NODES_MAX:
            self.refuse(event, f"the file holds more than {NODES_MAX} values", "split it")
        if isinstance(event, AliasEvent) or event.anchor is not None:
            self.refuse(event, "anchors and aliases are not allowed", "write the value out")
        if event.tag is not None:
            self.refuse(event, "tags are not allowed", "remove the word that starts with !")
        if depth > DEPTH_MAX:
            self.refuse(event, f"the file nests deeper than {DEPTH_MAX}", "flatten it")

    def node(self, event: Any, depth: int, key: Node | None = None) -> Node:
        self.guard(event, depth)
        if isinstance(event, ScalarEvent):
            return _node(event, self.scalar(event), event.style or "", event.end_mark.index, key=key)
        style = "flow" if event.flow_style else "block"
        children: dict[str | int, Node] = {}
        data: Any
        if isinstance(event, SequenceStartEvent):
            end = self.items(children, depth)
            data = [child.data for child in children.values()]
        else:
            end = self.entries(children, depth)
            data = {name: child.data for name, child in children.items()}
        if style == "block" and children:
            # The parser sees the end of a block only at the next token, past comments that are not its own.
            end = next(reversed(children.values())).end
        return _node(event, data, style, end, key=key, children=children)

    def items(self, children: dict[str | int, Node], depth: int) -> int:
        while not isinstance(event := self.parser.get_event(), SequenceEndEvent):
            children[len(children)] = self.node(event, depth + 1)
        return int(event.end_mark.index)

    def entries(self, children: dict[str | int, Node], depth: int) -> int:
        while not isinstance(event := self.parser.get_event(), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                self.guard(event, depth)  # an anchor or a tag is the better message
                self.refuse(event, "a key must be a word", "write `key: value` lines")
            key = self.node(event, depth + 1)
            name = event.value
            if name == "<<" and not key.style:
                self.refuse(event, "merge keys are not allowed", "write the values out")
            if name in children:
                first = children[name].key or key
                remedy = f"remove it here or in line {first.line}"
                self.refuse(event, f"the key `{_short(name)}` stands twice", remedy)
            children[name] = self.node(self.parser.get_event(), depth + 1, key)
        return int(event.end_mark.index)

    def scalar(self, event: ScalarEvent) -> Any:
        """Text, unless it is plainly a number, a boolean or null."""
        value: str = event.value
        if UNSAFE.search(value):
            self.refuse(event, "this stands for an invisible character", "remove the escape")
        if event.style:
            return value
        if value in _CONSTANTS:
            return _CONSTANTS[value]
        if _INTEGER.fullmatch(value):
            return int(value)
        if _DECIMAL.fullmatch(value):
            return float(value)
        if len(value) > 1 and _UNUSABLE_NUMBER.fullmatch(value):
            self.refuse(event, "this number cannot be used", "write a shorter one, or quote it if it is text")
        return value

    def refuse(self, event: Any, message: str, remedy: str) -> NoReturn:
        mark = event.start_mark
        _refuse(Place(self.file, mark.line + 1, mark.column + 1), message, remedy)


def _node(event: Any, data: Any, style: str, end: int, **rest: Any) -> Node:
    mark = event.start_mark
    return Node(data, mark.index, end, mark.line + 1, mark.column + 1, style, **rest)


def _short(name: str) -> str:
    """A key as a message may repeat it: one short line."""
    name = " ".join(name.split())
    return name if len(name) <= 60 else name[:57] + "..."


def _refuse(place: Place, message: str, remedy: str) -> NoReturn:
    raise InputError(Problem(place, "", message, remedy))
