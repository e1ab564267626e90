"""The collector of garbage: it stands still while much is made that stays.

Reading a repository makes millions of values, none of which is garbage, and Python's collector would walk through all
of them again and again. Whatever is thrown away meanwhile goes at once, as it always does, unless it refers to itself.

A full run walks through all that was made since, with the loop standing still for as long. So the values of which
there are as many as pins (`Pin`, `Release`, `Workload`, `Observation`, what is asked about each) are made with
`gc=False`: nobody changes them, and so none of them can come to refer to itself.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_standing: list[None] = []


@contextmanager
def standing_still() -> Iterator[None]:
    """In several threads at once, until the last of them is through. What is there then is not walked through again,
    not even where it has become garbage that refers to itself: this is for what happens once or twice."""
    with _lock:
        _standing.append(None)
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _standing.pop()
            if not _standing:
                gc.freeze()
                gc.enable()
