"""Working out a pure function's answer once for the very same arguments, which are values that nobody changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class _Same:
    """A key that equals another of the same object alone: to compare two releases costs more than it saves."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value  # and so kept, that no other object can come to have its id

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value


def once(kept_max: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Remember the answers for the last `kept_max` sets of arguments, each told from others by its identity."""

    def remembering(function: Callable[P, T]) -> Callable[P, T]:
        @lru_cache(kept_max)
        def known(*keys: _Same) -> Any:
            call: Callable[..., T] = function
            return call(*(key.value for key in keys))

        @wraps(function)
        def answer(*args: P.args, **kwargs: P.kwargs) -> T:
            if kwargs:
                return function(*args, **kwargs)
            result: T = known(*map(_Same, args))
            return result

        return answer

    return remembering
