"""Upgrades under way: each is carried on by a task of its own, until it ends, waits, or meets a bug of ours."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from reconciler.engine import poison
from reconciler.engine import upgrade as upgrading
from reconciler.engine.control import OPERATION, Control, Running
from reconciler.engine.endure import carried
from reconciler.engine.fence import Fenced
from reconciler.engine.granted import granted, heeded
from reconciler.engine.together import leader_of
from reconciler.model.circumstances import Asked
from reconciler.model.upgrade import Upgrade

if TYPE_CHECKING:
    from reconciler.engine.reconcile import EnvironmentPass

log = logging.getLogger("ugs")


class Carrying:
    """Of one environment, whose pass keeps what runs."""

    def __init__(self, here: EnvironmentPass) -> None:
        self._here = here

    def launch(self, upgrade: Upgrade, asked: Asked | None = None) -> None:
        """Give an upgrade a task that carries it on. `asked`: the commit, where that is known."""
        here = self._here
        control = Control(
            lambda: here.heed.closed_now(upgrade, here.observed, running.asked),
            lambda: self._paused(upgrade, running),
            here.controls,
            self.take_back,
        )
        control.taken_with = leader_of(here.core, upgrade)
        if said := granted(here.core, upgrade):
            control.verdict, control.actor = said.verdict, said.actor
        running = Running(upgrade.operation, control, here.core.clock.monotonic(), asked)
        here.running[upgrade.service] = running
        here.handled.add(upgrade.service)
        running.task = asyncio.create_task(self._carry(upgrade, running), name=upgrade.operation)

    async def _paused(self, upgrade: Upgrade, running: Running) -> str:
        """Why the next batch may not start. Of one that a former daemon began, it is asked first who asked for it:
        what was approved then counts between its batches too."""
        here = self._here
        if running.asked is None:
            running.asked = await here.heed.asked(upgrade, here.observed, here.weigher.asked)
        return here.heed.paused_now(upgrade, here.observed, running.asked)

    def take_back(self, failed: Upgrade) -> None:
        """Let those under way that go back with a failed upgrade know, and start taking back the others."""
        here = self._here
        for companion in failed.companions:
            running = here.running.get(companion.service)
            if running and running.operation == companion.operation:
                running.control.say(taken_with=failed.operation)
            elif (row := here.core.store.upgrade(companion.operation)) and row.phase in upgrading.ACTIVE:
                self.launch(row)

    async def _carry(self, upgrade: Upgrade, running: Running) -> None:
        here = self._here
        OPERATION.set(upgrade.operation)
        try:
            done = await carried(here.core, upgrade, running.control, here.monitor.proven)
            if running.control.verdict:
                heeded(here.core, upgrade.operation)
            if done.failed:
                await here.refresh()  # so that the next pass sees the pin as it stands now
        except Fenced as fenced:
            left = "operation %s of %s is left as it stands: %s"
            log.warning(left, upgrade.operation, upgrade.service, fenced)
        except Exception:
            # A bug: nothing else is tried with this service until someone has looked and started us again.
            log.exception("bug: operation %s of %s in %s", upgrade.operation, upgrade.service, here.name)
            here.broken[upgrade.service] = upgrade.operation
            poison.tell(here.core, upgrade.operation)
            return
        here.running.pop(upgrade.service, None)
        poison.put_down(here.core, upgrade.operation)
        here.wake.set()
