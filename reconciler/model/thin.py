"""A large document that does not fit its schema, cut down to what has to be explained.

Explaining walks every value, and costs a hundred times what the gate does. Of a large mapping or list only the
children that the gate refuses are kept, and only as many as are told.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

LARGE = 50
"""A container of more children is looked at; so is everything in it that is kept."""
Valid = Callable[[Any], bool]


class Thin:
    """`data`: the document without what is right. `valid`: the gate. Of a large container at most `kept_max`
    children are kept."""

    def __init__(self, data: Any, valid: Valid, known: Sequence[str], *, kept_max: int) -> None:
        self.moved: dict[tuple[str | int, ...], list[int]] = {}
        """By the path of a list: at which index its children stood."""
        self._valid, self._kept_max = valid, kept_max
        if (
            len(data) > LARGE
        ):  # of the root's own keys, those that the format knows are needed to judge the others
            unknown = [key for key in data if key not in known][:kept_max]
            data = {key: value for key, value in data.items() if key in known or key in unknown}
        self.data: Any = data
        self._walk((), data, lambda value: value)

    def path(self, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
        """Where a value of the thin document stands in the whole one."""
        whole: list[str | int] = []
        for depth, step in enumerate(path):
            indexes = self.moved.get(path[:depth])
            whole.append(indexes[step] if indexes and isinstance(step, int) else step)
        return tuple(whole)

    def _walk(self, path: tuple[str | int, ...], data: Any, around: Callable[[Any], Any]) -> Any:
        """The same with every large container in it cut down. `around`: the document with this part replaced."""
        if not isinstance(data, dict | list):
            return data
        keys: list[Any] = list(data) if isinstance(data, dict) else list(range(len(data)))
        if len(keys) > LARGE and path:
            keys = self._refused(keys, data, around)
            if isinstance(data, list):
                self.moved[path] = keys
            data = _part(data, keys)
            self.data = around(data)
        for place, key in enumerate(data if isinstance(data, dict) else range(len(data))):
            at = key if isinstance(data, dict) else place
            child = data[at]
            if isinstance(child, dict | list):
                data = _with(data, at, self._walk((*path, at), child, _around(data, at, around)))
                self.data = around(data)
        return data

    def _refused(self, keys: list[Any], data: Any, around: Callable[[Any], Any]) -> list[Any]:
        """The first children that the gate refuses; the first of all where it refuses whatever is left."""
        first = keys[: self._kept_max]
        if not any(self._valid(around(_part(data, part))) for part in ([], *([key] for key in first))):
            return first  # none of them is right, or something else is wrong too
        found: list[Any] = []
        halves = [keys]
        while halves and len(found) < self._kept_max:
            part = halves.pop()
            if self._valid(around(_part(data, part))):
                continue
            if len(part) == 1:
                found.append(part[0])
            else:
                halves += [part[len(part) // 2 :], part[: len(part) // 2]]
        if found:
            return found
        # None alone is wrong, so it is their number, or two that are the same: as few as show it.
        few = bisect_left(
            range(len(keys)), True, key=lambda n: not self._valid(around(_part(data, keys[:n])))
        )
        return keys[:few]


def _part(data: Any, keys: Sequence[Any]) -> Any:
    return {key: data[key] for key in keys} if isinstance(data, dict) else [data[key] for key in keys]


def _with(data: Any, key: Any, child: Any) -> Any:
    if isinstance(data, dict):
        return data | {key: child}
    return [*data[:key], child, *data[key + 1 :]]


def _around(data: Any, key: Any, around: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda child: around(_with(data, key, child))
