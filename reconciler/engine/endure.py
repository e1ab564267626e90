"""Outliving trouble that is nobody's bug: a full disk, a locked database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

from reconciler.clock import Clock
from reconciler.engine import upgrade as upgrading
from reconciler.engine.control import Control
from reconciler.engine.core import Core
from reconciler.model.errors import UgsError
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.store import Full, Store

log = logging.getLogger("ugs")
T = TypeVar("T")
TROUBLE_S = 5.0


async def endure(clock: Clock, name: str, work: Callable[[], Awaitable[T]]) -> T:
    """Run `work`, and again from its beginning whenever such trouble ends it; told each time.

    Raises every bug. A database that cannot be trusted any more is not borne with: see `until_damaged`.
    """
    while True:
        try:
            return await work()
        except UgsError as error:
            log.error("%s: %s", name, error)
            await clock.sleep(TROUBLE_S)


async def until_damaged(store: Store) -> NoReturn:
    """Raise Damaged once the database cannot be trusted any more, whoever has met it and whatever he made of it: then
    the daemon is to end, and no loop of it has to know."""
    heard = asyncio.Event()
    store.mourners.append(heard.set)
    while (damage := store.damage) is None:
        await heard.wait()
    raise damage


async def carried(core: Core, upgrade: Upgrade, control: Control, proven: Callable[[str], None]) -> Upgrade:
    """Carry an upgrade on from where it stands on record, in spite of such trouble. `proven`: told of a service
    whose upgrade has succeeded.

    On a full disk nothing new begins; what has touched anything may use the space that was put by.
    """

    def newest() -> Upgrade:
        return core.store.upgrade(upgrade.operation) or upgrade

    async def carry() -> Upgrade:
        try:
            ended = await upgrading.carry(core, newest(), control)
        except Full:
            if newest().phase is Phase.PREPARING or not core.reserve.release():
                raise
            ended = await upgrading.carry(core, newest(), control)
        if ended.phase is Phase.SUCCEEDED and ended.after:
            proven(ended.service)
        return ended

    return await endure(core.clock, f"operation {upgrade.operation}", carry)
