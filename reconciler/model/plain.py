"""The plain pass over a YAML text: its values, and where each starts. What is odd is left to `node`, which says it."""

from __future__ import annotations

from typing import Any

from _ruamel_yaml import CParser  # type: ignore[import-not-found]  # a C extension without stubs
from ruamel.yaml.events import (
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from reconciler.model.node import CONSTANTS, DECIMAL, DEPTH_MAX, INTEGER, NODES_MAX, UNSAFE, UNUSABLE_NUMBER

_MAYBE_NUMBERS = frozenset("+-.0123456789")
_LETTERS = "="
"""What looks as if it was no text, and `<<`, sorts before this; of the keys hardly any other does."""

Mark = Any
"""Where a value starts: libyaml's own event; of a mapping or list that and the marks of what is in it."""


class OddError(Exception):
    """Nothing that stands in a file which is right: `node` says what it is."""


class PlainPass:
    """One pass over libyaml's events, of which the values are made and the events kept. Raises OddError, YAMLError."""

    def __init__(self, text: str) -> None:
        self.event = CParser(text).get_event
        self.escapes = "\\" in text
        self.marked = "&" in text or "!" in text
        """Whether there may be anchors or tags."""
        self.nodes = 1

    def document(self) -> tuple[dict[str, Any], Mark]:
        self.event()  # the start of the stream
        event = self.event()
        if type(event) is not DocumentStartEvent or event.version or event.tags:
            raise OddError
        event = self.event()
        if type(event) is not MappingStartEvent:
            raise OddError
        found = self.mapping(event, 1)
        self.event()  # the end of the document
        if type(self.event()) is not StreamEndEvent:
            raise OddError
        return found

    def mapping(self, start: Any, depth: int) -> tuple[dict[str, Any], Mark]:
        self.held(start)
        values: dict[str, Any] = {}
        marks: dict[str, Mark] = {}
        # This loop is where reading a repository takes its time.
        get, escapes, marked, deep = self.event, self.escapes, self.marked, depth >= DEPTH_MAX
        while type(key := get()) is ScalarEvent:
            name = key.value
            if name in values or deep or (marked and (key.anchor is not None or key.ctag is not None)):
                raise OddError
            if name < _LETTERS and not key.style:
                self.word(name)
            if escapes and UNSAFE.search(name):
                raise OddError
            event = get()
            if type(event) is ScalarEvent:
                if marked and (event.anchor is not None or event.ctag is not None):
                    raise OddError
                value = event.value
                if escapes and UNSAFE.search(value):
                    raise OddError
                plain = not event.style and (value in CONSTANTS or value[0] in _MAYBE_NUMBERS)
                values[name], marks[name] = self.word(value) if plain else value, event
            else:
                values[name], marks[name] = self.inner(event, depth)
            self.nodes += 2
            if self.nodes > NODES_MAX:
                raise OddError
        if type(key) is not MappingEndEvent:
            raise OddError
        return values, (start, marks)

    def sequence(self, start: Any, depth: int) -> tuple[list[Any], Mark]:
        self.held(start)
        values: list[Any] = []
        marks: list[Mark] = []
        while type(event := self.event()) is not SequenceEndEvent:
            self.nodes += 1
            if depth >= DEPTH_MAX or self.nodes > NODES_MAX:
                raise OddError
            if type(event) is ScalarEvent:
                value, mark = event.value, event
                if (
                    event.anchor is not None
                    or event.ctag is not None
                    or (self.escapes and UNSAFE.search(value))
                ):
                    raise OddError
                if not event.style and (value in CONSTANTS or value[0] in _MAYBE_NUMBERS):
                    value = self.word(value)
            else:
                value, mark = self.inner(event, depth)
            values.append(value)
            marks.append(mark)
        return values, (start, marks)

    def held(self, start: Any) -> None:
        if start.anchor is not None or start.ctag is not None:
            raise OddError

    def inner(self, event: Any, depth: int) -> tuple[Any, Mark]:
        if type(event) is MappingStartEvent:
            return self.mapping(event, depth + 1)
        if type(event) is SequenceStartEvent:
            return self.sequence(event, depth + 1)
        raise OddError

    def word(self, value: str) -> Any:
        """What stands there without quotes, and looks as if it was no text."""
        if value in CONSTANTS:
            return CONSTANTS[value]
        if INTEGER.fullmatch(value):
            return int(value)
        if DECIMAL.fullmatch(value):
            return float(value)
        if value == "<<" or (len(value) > 1 and UNUSABLE_NUMBER.fullmatch(value)):
            raise OddError
        return value
