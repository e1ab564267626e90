"""Work that is counted, which is the same on every machine, as time is not."""

from __future__ import annotations

import sys
from collections.abc import Callable


def calls(do: Callable[[], object]) -> int:
    """Calls of functions and returns from them, in Python and in C."""
    found = 0

    def seen(_frame: object, _event: str, _argument: object) -> None:
        nonlocal found
        found += 1

    sys.setprofile(seen)
    try:
        do()
    finally:
        sys.setprofile(None)
    return found
