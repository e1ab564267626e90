"""Bytes of a YAML file to plain data, and where each value stands in the file.

The reading rules of the repository format live here and in `node`. Files are many, and few are wrong: the values are
read in one plain pass, and whatever is odd is left to the pass that can explain it. Sizes and characters are checked
before any parsing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import ScalarEvent

from reconciler.model.errors import Place, Problem
from reconciler.model.node import UNSAFE, Node, Reader, refuse, short
from reconciler.model.plain import Mark, OddError, PlainPass

SIZE_BYTES_MAX = 1 << 20
DURATION_S_MAX = 366 * 86_400.0
DURATIONS_MAX = 1_000
"""A repository names the same few again and again."""

_LONE_RETURN = re.compile(r"\r(?!\n)")
_DURATION = re.compile(r"(0|[1-9][0-9]{0,8})(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_QUOTES = frozenset("\"'")

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """One YAML file that was read: its text, its values, and where they stand.

    `data`: dicts with text keys, lists, and text, whole numbers, decimals, booleans or None.
    """

    file: str
    text: str
    data: dict[str, Any]
    marks: Mark

    @cached_property
    def root(self) -> Node:
        """The whole text as a tree: read once more, for whoever needs more than values and places."""
        return Reader(self.text, self.file).document()

    def at(self, path: Path) -> Any:
        """The value at `path`, or the nearest one above it where the path ends early."""
        value: Any = self.data
        for step in path:
            within = (
                step in value
                if isinstance(value, dict)
                else isinstance(value, list) and step in range(len(value))
            )
            if not within:
                break
            value = value[step]
        return value

    def node(self, path: Path) -> Node:
        """The node at `path`, or the nearest one above it."""
        node = self.root
        for step in path:
            if step not in node.children:
                break
            node = node.children[step]
        return node

    def place(self, path: Path) -> Place:
        """Where the value at `path` stands."""
        mark = self._event(path).start_mark
        return Place(self.file, mark.line + 1, mark.column + 1)

    def key_place(self, path: Path) -> Place:
        """Where the key of `path` stands; the value's place where there is no key."""
        node = self.node(path)
        at = node.key or node
        return Place(self.file, at.line, at.column)

    def quoted(self, path: Path) -> bool:
        """Whether the value at `path` is a text in quotes."""
        event = self._event(path)
        return type(event) is ScalarEvent and event.style in _QUOTES

    def quoted_in(self, name: str) -> dict[str, Place]:
        """Where each text in quotes stands in the mapping that the file has as `name`, by its key."""
        mark = self.marks[1].get(name)
        within = mark[1] if type(mark) is tuple and type(mark[1]) is dict else {}
        file, found = self.file, dict[str, Place]()
        for key, event in within.items():
            if type(event) is ScalarEvent and event.style in _QUOTES:
                start = event.start_mark
                found[key] = Place(file, start.line + 1, start.column + 1)
        return found

    def raw(self, path: Path) -> str:
        """The value's text as it stands in the file."""
        node = self.node(path)
        return self.text[node.start : node.end]

    def problem(self, path: Path, message: str, remedy: str, *, at_key: bool = False) -> Problem:
        """A problem with the value (or the key) at `path`."""
        place = self.key_place(path) if at_key else self.place(path)
        return Problem(place, dotted(path), message, remedy)

    def _event(self, path: Path) -> Any:
        mark = self.marks
        for step in path:
            if type(mark) is not tuple:
                break
            within = mark[1]
            if type(within) is dict:
                if step not in within:
                    break
            elif step not in range(len(within)):
                break
            mark = within[step]
        return mark[0] if type(mark) is tuple else mark


def read(data: bytes, file: str) -> Document:
    """Read a file of the repository. Raises InputError, and nothing else, where the reading rules refuse."""
    text = _text(data, file)
    try:
        try:
            values, marks = PlainPass(text).document()
        except (OddError, YAMLError):
            Reader(text, file).document()  # which says what is wrong with it, and where
            raise
    except YAMLError as error:
        mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        refuse(place, f"this is not YAML: {what or 'it cannot be parsed'}", "mend the syntax here")
    return Document(file, text, values, marks)


def dotted(path: Path) -> str:
    """A path for people: `health.probes[0].http`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{short(step)}" for step in path).lstrip(".")


@lru_cache(maxsize=DURATIONS_MAX)
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
        refuse(Place(file), f"the file is larger than {SIZE_BYTES_MAX} bytes", "split it")
    if data.startswith(b"\xef\xbb\xbf"):
        refuse(Place(file), "the file starts with a byte order mark", "save it as UTF-8 without one")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        refuse(Place(file, line), "the file is not UTF-8", "save it as UTF-8")
    if match := UNSAFE.search(text) or ("\r" in text and _LONE_RETURN.search(text)):
        line_start = text.rfind("\n", 0, match.start()) + 1
        place = Place(file, text.count("\n", 0, match.start()) + 1, match.start() - line_start + 1)
        refuse(place, f"the invisible character U+{ord(match[0]):04X} is not allowed", "remove it")
    if not text or text.isspace():
        refuse(Place(file), "the file is empty", "fill it or remove it")
    if not text.endswith("\n"):
        place = Place(file, text.count("\n") + 1)
        refuse(place, "the last line does not end in a newline: the file may be cut off", "end it with one")
    return text
