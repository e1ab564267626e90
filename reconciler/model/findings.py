"""What is wrong in one document, gathered so that a person sees all of it at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from reconciler.model.codec import convert, encode_unordered
from reconciler.model.document import Document, Path, seconds
from reconciler.model.errors import InputError, Problem
from reconciler.model.schema import PROBLEMS_MAX
from reconciler.model.version import Version

T = TypeVar("T")
FOUND_MAX = 10 * PROBLEMS_MAX
"""A hostile file has any number of them: then the rest is not looked for."""
RIGHT_MAX, RIGHT_BYTES_MAX = 1_000, 4_000
_right: dict[tuple[type, bytes], Any] = {}
"""What was found to be right, by its type and the JSON of what stands in a file, where that is not large."""
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


class Findings:
    """Findings about a document that fits its schema. Nothing is raised before `settle` or `converted`, but for the
    InputError of a file that has too many."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def add(self, path: Path, message: str, remedy: str) -> None:
        """A finding about the value at `path`."""
        self.problems.append(self.document.problem(path, message, remedy))
        if len(self.problems) >= FOUND_MAX:
            self.settle()

    def valid(self, path: Path, check: Callable[..., object], *values: object) -> bool:
        """Whether `check` accepts the values (by default that at `path`); its ValueError is the finding."""
        try:
            check(*(values or (self.document.at(path),)))
        except ValueError as error:
            message, _, remedy = str(error).partition("; ")
            self.add(path, message, remedy or "correct it")
            return False
        return True

    def version(self, path: Path) -> None:
        """Find a version that is not in quotes, or not SemVer."""
        if self.document.quoted(path):
            self.valid(path, Version)
        else:
            shown = "".join(filter(str.isprintable, self.document.raw(path)))
            self.add(path, "versions must be quoted", f'write "{shown}"')

    def timed(self, at: Path, keys: tuple[str, ...], *, positive: bool = False) -> dict[str, Any]:
        """The mapping at `at` with each duration `key` replaced by `key_s`, in seconds."""
        data = dict(self.document.at(at))
        for key in keys:
            text = data.pop(key, None)
            if text is not None and self.valid((*at, key), seconds, text):
                data[f"{key}_s"] = seconds(text)
                if positive and not data[f"{key}_s"]:
                    self.add((*at, key), "this must be longer than nothing", "write for example 1s")
        return data

    def once(
        self, key: str, check: Callable[[Findings], dict[str, Any]], kind: type[T]
    ) -> T | dict[str, Any]:
        """What stands at the top as `key`, as `check` has it, which looks at nothing else: a `kind`, or what is to be
        converted to one.

        A service's releases say the same of it again and again: what was right once is so wherever it stands.
        """
        said = kind, encode_unordered(self.document.data[key])
        known: T | None = _right.get(said)
        if known is not None:
            return known
        before = len(self.problems)
        checked = check(self)
        if len(self.problems) > before:
            return checked
        try:
            known = convert(checked, kind)
        except msgspec.ValidationError:
            return checked  # `converted` says what it is
        if len(said[1]) <= RIGHT_BYTES_MAX:
            if len(_right) >= RIGHT_MAX:
                _right.clear()
            _right[said] = known
        return known

    def settle(self) -> None:
        """Raise InputError when anything was found (at most 20 problems, in the order of the file)."""
        if self.problems:
            raise InputError(*sorted(self.problems)[:PROBLEMS_MAX])

    def converted(self, data: object, kind: type[T], at: Path = ()) -> T:
        """The typed model of what stands at `at`. Raises InputError when anything was found."""
        self.settle()
        try:
            return convert(data, kind)
        except msgspec.ValidationError as error:
            # A schema's whole numbers include 8080.0, the models' do not; nothing else is left to find.
            within = str(error).partition(" - at `$")[2]
            path = (*at, *(int(i) if i else key for key, i in _STEP.findall(within)))
            message, remedy = "this must be a whole number", "write it without a decimal point"
            raise InputError(self.document.problem(path, message, remedy)) from error
