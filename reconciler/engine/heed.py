"""What upgrades under way have to know of the newest pins, and of gates that have closed since they were looked at."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from reconciler.engine.control import Running
from reconciler.engine.core import Core
from reconciler.engine.data import has_migrated
from reconciler.engine.upkeep import records_of
from reconciler.model import plan as planning
from reconciler.model.circumstances import Asked, Gate
from reconciler.model.desired import Desired
from reconciler.model.errors import UgsError
from reconciler.model.gates import BETWEEN_BATCHES
from reconciler.model.observation import Observation
from reconciler.model.order import Arrangement
from reconciler.model.plan import Change, Records
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase, Upgrade

log = logging.getLogger("ugs")
AskedFor = Callable[[Desired, Change], Awaitable[Asked]]
ShutFor = Callable[[Desired, Change, Asked | None, Arrangement | None], tuple[Gate, ...]]
Observed = Mapping[str, Observation]


class Heed:
    """For one environment. `shut_for`: the gates that are closed for a change at this moment."""

    def __init__(self, core: Core, environment: str, shut_for: ShutFor) -> None:
        self._core = core
        self._name = environment
        self._shut_for = shut_for

    async def asked(self, upgrade: Upgrade, observed: Observed, find: AskedFor) -> Asked | None:
        """The commit that asked for an upgrade under way; None where it cannot be told, or nothing is pinned by it."""
        desired = self._core.desired.get(self._name)
        if desired is None or upgrade.pinned is None:
            return None
        records = records_of(self._core, self._name)
        try:
            return await find(
                desired, self._change(desired, upgrade.service, upgrade.pinned, observed, records)
            )
        except UgsError as error:
            log.warning("%s: who asked for this cannot be told now: %s", upgrade.service, error)
            return None

    def paused_now(self, upgrade: Upgrade, observed: Observed, asked: Asked | None) -> str:
        """Why the next batch of an upgrade under way may not start at this very moment; empty when it may."""
        desired = self._core.desired.get(self._name)
        if desired is None:
            return ""  # nobody is left to say so: what was begun is brought to its end
        records = records_of(self._core, self._name)
        change = self._change(desired, upgrade.service, upgrade.pinned, observed, records)
        shut = self._shut_for(desired, change, asked, None)
        return "; ".join(gate.reason for gate in shut if gate.gate in BETWEEN_BATCHES)

    def closed_now(self, upgrade: Upgrade, observed: Observed, asked: Asked | None) -> str:
        """Why a gate is closed at this very moment, by the newest that is known; empty when all are open."""
        desired, service = self._core.desired.get(self._name), upgrade.service
        if desired is None:
            return "the environment is gone from the repository"
        records = records_of(self._core, self._name)
        wanted = planning.unwanted(desired, observed, records.removing)
        if upgrade.pinned is None and service not in wanted:
            return "its removal is asked for no longer"
        change = self._change(desired, service, upgrade.pinned, observed, records)
        return "; ".join(gate.reason for gate in self._shut_for(desired, change, asked, None))

    def new_pins(
        self,
        desired: Desired,
        observed: Observed,
        records: Records,
        running: Mapping[str, Running],
        order: Arrangement,
    ) -> None:
        """Tell upgrades under way that their pin has moved. `order`: of all changes that are asked for now."""
        for service, one in running.items():
            upgrade = self._core.store.upgrade(one.operation)
            work = desired.workloads.get(service)
            if upgrade is None or upgrade.pinned is None or (work and work.target == upgrade.pinned.target):
                continue  # a removal looks for itself before it touches anything, and is not stopped half-way
            untouched = upgrade.phase is Phase.PREPARING
            if work is None:
                if untouched and not (desired.hidden or service in desired.blind):
                    one.control.say(aborted="it is no longer pinned")
            elif not (untouched or upgrade.phase is Phase.VERIFYING):
                continue
            elif upgrade.before and work.target == upgrade.before.target:
                one.control.say(aborted=f"the pin was moved back to {work.target.version}")
            elif untouched or not (
                has_migrated(self._core, upgrade)
                or self._shut_for(
                    desired, self._change(desired, service, work, observed, records), None, order
                )
            ):
                one.control.say(superseded=f"{work.target.version} is pinned now")

    def _change(
        self, desired: Desired, service: str, work: Workload | None, observed: Observed, records: Records
    ) -> Change:
        """What would make `work` run, or with None remove the service."""
        if service in records.settled:  # it has begun to move since they were read
            records = records_of(self._core, self._name)
        if work is None:
            return planning.removal_of(desired, service, observed.get(service), records)
        return planning.change_to(desired, work, observed.get(service), records, now=self._core.clock.now())
