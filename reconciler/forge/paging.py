"""Reading what a forge gives page by page, which all do alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from reconciler.forge.base import PAGE, PAGES_MAX

T = TypeVar("T")


def pages(ask: Callable[[int], list[T]], *, size: int = PAGE) -> Iterator[T]:
    """All that `ask` gives for the pages from 1 on, at most PAGES_MAX. `size`: what a full page holds.

    A page is asked for when it is needed: whoever has found what they look for asks for no more.
    """
    for page in range(1, PAGES_MAX + 1):
        found = ask(page)
        yield from found
        if len(found) < size:
            return
