"""Outliving trouble that is nobody's bug: a full disk, a locked database."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from reconciler.clock import Clock
from reconciler.model.errors import UgsError
from reconciler.store import Damaged

log = logging.getLogger("ugs")
T = TypeVar("T")
TROUBLE_S = 5.0


async def endure(clock: Clock, name: str, work: Callable[[], Awaitable[T]]) -> T:
    """Run `work`, and again from its beginning whenever such trouble ends it; told each time.

    Raises Damaged, after which the database cannot be trusted, and every bug.
    """
    while True:
        try:
            return await work()
        except Damaged:
            raise
        except UgsError as error:
            log.error("%s: %s", name, error)
            await clock.sleep(TROUBLE_S)
