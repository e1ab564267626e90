"""A YAML text as a tree in which every value knows its place: for messages, and for changing the text.

Whoever only wants the values has them from `document`, in half the time; both refuse the same. Refusal comes before
expensive work: nesting and aliases are checked while the events come in.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from _ruamel_yaml import CParser  # type: ignore[import-not-found]  # a C extension without stubs
from msgspec import Struct
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

from reconciler.model.errors import InputError, Place, Problem, printable

DEPTH_MAX = 20
NODES_MAX = 12_000

# Control characters, line breaks that only some parsers know, and what changes how a line looks or hides in
# it: bidirectional controls, zero-width characters, byte order marks, tag characters.
UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,14})\.[0-9]{1,15}")
UNUSABLE_NUMBER = re.compile(r"[-+]?(\.(inf|nan)|[0-9]{19,}|[0-9]*\.[0-9]*)", re.IGNORECASE)
CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}


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


class Reader:
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
        if event.ctag is not None:  # `tag` would make a text of it
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
                self.refuse(event, f"the key `{short(name)}` stands twice", remedy)
            children[name] = self.node(self.parser.get_event(), depth + 1, key)
        return int(event.end_mark.index)

    def scalar(self, event: ScalarEvent) -> Any:
        """Text, unless it is plainly a number, a boolean or null."""
        value: str = event.value
        if UNSAFE.search(value):
            self.refuse(event, "this stands for an invisible character", "remove the escape")
        if event.style:
            return value
        if value in CONSTANTS:
            return CONSTANTS[value]
        if INTEGER.fullmatch(value):
            return int(value)
        if DECIMAL.fullmatch(value):
            return float(value)
        if len(value) > 1 and UNUSABLE_NUMBER.fullmatch(value):
            self.refuse(event, "this number cannot be used", "write a shorter one, or quote it if it is text")
        return value

    def refuse(self, event: Any, message: str, remedy: str) -> NoReturn:
        mark = event.start_mark
        refuse(Place(self.file, mark.line + 1, mark.column + 1), message, remedy)


def _node(event: Any, data: Any, style: str, end: int, **rest: Any) -> Node:
    mark = event.start_mark
    return Node(data, mark.index, end, mark.line + 1, mark.column + 1, style, **rest)


def short(name: str) -> str:
    """A key as a message may repeat it: one short line."""
    name = printable(" ".join(name.split()))
    return name if len(name) <= 60 else name[:57] + "..."


def refuse(place: Place, message: str, remedy: str) -> NoReturn:
    raise InputError(Problem(place, "", message, remedy))
