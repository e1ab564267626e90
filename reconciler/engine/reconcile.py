"""One pass over one environment: observe, decide, act. It ends in a sentence for every service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from reconciler.engine import departure
from reconciler.engine import upgrade as upgrading
from reconciler.engine.control import Control, Running
from reconciler.engine.core import Core
from reconciler.engine.endure import endure
from reconciler.engine.ledger import Ledger
from reconciler.engine.monitor import Monitor
from reconciler.engine.upkeep import Repairs, adopt, records_of
from reconciler.engine.view import ServiceView, Told, view_of
from reconciler.engine.weigh import Weigher
from reconciler.model import plan as planning
from reconciler.model.circumstances import Asked, Circumstances, Gate
from reconciler.model.desired import Desired
from reconciler.model.errors import UgsError
from reconciler.model.gates import closed, evaluate, judged, starts_at
from reconciler.model.observation import Observation
from reconciler.model.permits import may_repair
from reconciler.model.plan import Change, Records
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import Phase, Upgrade

log = logging.getLogger("ugs")


@dataclass
class EnvironmentPass:
    """What one environment's passes keep between them; everything in it could be worked out again."""

    core: Core
    name: str
    refresh: Callable[[], Awaitable[None]]
    """Fetch and take what is new into force; called after a revert."""
    accept_first: bool = False
    fetched_at: datetime | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    observed: Mapping[str, Observation] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    told: Told = field(default_factory=dict)
    """By service: the change that waits or has just started, and its gates."""
    broken: dict[str, str] = field(default_factory=dict)
    """By service: the operation that a bug of ours stopped."""
    trouble: str = ""
    """Why the last pass could not observe; empty when it could."""

    def __post_init__(self) -> None:
        self.monitor = Monitor(self.core, self.name)
        self.repairs = Repairs(self.core, self.name)
        self.ledger = Ledger(self.core, self.name)
        self.weigher = Weigher(self.core, self.name)

    @property
    def busy(self) -> frozenset[str]:
        return frozenset(self.running)

    def resume(self, unfinished: list[Upgrade]) -> None:
        """After a start: carry on what a former daemon left under way."""
        for upgrade in unfinished:
            if upgrade.phase in upgrading.ACTIVE:
                log.info("carrying on %s in phase %s", upgrade.operation, upgrade.phase.value)
                self.launch(upgrade)

    async def once(self) -> None:
        """One pass. Trouble with the engine (the driver's) is kept in `trouble` and changes nothing."""
        core, desired = self.core, self.core.desired.get(self.name)
        if desired is None:
            return
        driver, busy = core.driver(self.name), self.busy
        try:
            observed = await asyncio.to_thread(driver.observe, core.site, self.name)
        except UgsError as error:
            self.trouble = str(error)
            log.warning("%s: what runs could not be observed: %s", self.name, error)
            return
        self.trouble, self.observed = "", observed
        await adopt(core, self.monitor, desired, observed, busy=self.busy)
        records = records_of(core, self.name)
        self._heed_new_pins(desired, records)
        changes = planning.plan(desired, observed, records, now=core.clock.now())
        # What was being removed while we looked may be gone by now: the next pass sees it.
        unsure = frozenset(change.service for change in changes if change.after is None) & busy
        self.told = await self._start(desired, observed, changes, unsure)
        await self.repairs.mend(
            self._repairable(desired, planning.repairs(desired, observed, records, self.busy))
        )
        left = observed or records.removing or self.busy
        if desired.gone is not None and not left and core.desired.get(self.name) is desired:
            departure.close(core, self.name)

    async def preview(self) -> None:
        """Observe and decide as a pass does, and start nothing: what `ugs plan` shows without a daemon."""
        desired = self.core.desired[self.name]
        self.observed = await asyncio.to_thread(
            self.core.driver(self.name).observe, self.core.site, self.name
        )
        now = self.core.clock.now()
        changes = planning.plan(desired, self.observed, records_of(self.core, self.name), now=now)
        asked = {change.service: await self.weigher.asked(desired, change) for change in changes}
        around = self._around(desired, self.observed, changes, asked)
        self.told = {change.service: self._gates(change, around) for change in changes}

    def _repairable(self, desired: Desired, lacking: list[Workload]) -> list[Workload]:
        """Those that nobody holds: hold alone keeps from starting again what should run already."""
        permits, now = self.core.store.permits(self.name), self.core.clock.now()
        return [work for work in lacking if may_repair(permits, desired.environment, work.service, now=now)]

    async def _controls(self) -> list[bool]:
        """Whether healthy services that nobody touches still answer: a control group for a verdict of failure."""
        desired = self.core.desired.get(self.name)
        return await self.monitor.controls(desired, self.observed, self.busy) if desired else []

    async def look(self, *, only_new: bool = False) -> None:
        """One round of probes over what is settled; with `only_new`, over what was not looked at yet."""
        if desired := self.core.desired.get(self.name):
            await self.monitor.look(desired, self.observed, self.busy, only_new=only_new)

    def tasks(self) -> list[asyncio.Task[None]]:
        """The upgrades under way."""
        return [running.task for running in self.running.values() if running.task]

    def halt(self) -> list[asyncio.Task[None]]:
        """Ask every upgrade to stop at its next safe point; the answer is what to wait for."""
        for running in self.running.values():
            running.control.say(stopping=True)
        return self.tasks()

    def opens_at(self) -> datetime | None:
        """When the next closed gate opens by the clock alone."""
        now = self.core.clock.now()
        opening = (starts_at(gates, now=now) for change, gates in self.told.values() if closed(gates))
        return min((at for at in opening if at is not None), default=None)

    def views(self) -> dict[str, ServiceView]:
        """Every service as it stands at this moment."""
        desired = self.core.desired.get(self.name)
        if desired is None:
            return {}
        return view_of(
            desired,
            self.observed,
            self.told,
            self.under_way(),
            self.monitor.states(),
            now=self.core.clock.now(),
        )

    def observed_target(self, service: str) -> Target | None:
        """What the last pass saw running."""
        observation = self.observed.get(service)
        return observation.running if observation else None

    def under_way(self) -> dict[str, Upgrade]:
        """The newest state of every upgrade that a task carries."""
        upgrades = (self.core.store.upgrade(running.operation) for running in self.running.values())
        return {upgrade.service: upgrade for upgrade in upgrades if upgrade}

    # deciding

    def _gates(self, change: Change, around: Circumstances) -> tuple[Change, tuple[Gate, ...]]:
        asked = around.asked.get(change.service)
        change = judged(change, asked, around.environment.policy) if asked else change
        return change, evaluate(change, replace(around, busy=self.busy), now=self.core.clock.now())

    def _around(
        self,
        desired: Desired,
        observed: Mapping[str, Observation],
        changes: list[Change],
        asked: Mapping[str, Asked],
    ) -> Circumstances:
        return self.weigher.circumstances(
            desired,
            observed,
            changes,
            asked=asked,
            busy=self.busy,
            fetched_at=self.fetched_at,
            first_accepted=self.accept_first,
        )

    # acting

    async def _start(
        self,
        desired: Desired,
        observed: Mapping[str, Observation],
        changes: list[Change],
        unsure: frozenset[str],
    ) -> Told:
        """Start every change whose gates are all open, and record why the others wait; leave the `unsure` alone."""
        told: dict[str, tuple[Change, tuple[Gate, ...]]] = {}
        asked = {change.service: await self.weigher.asked(desired, change) for change in changes}
        if self.name not in self.core.desired:
            return {}  # it was given another name meanwhile
        busy = self.busy | unsure
        ready = [change for change in changes if change.service not in busy]
        waiting = self.ledger.retire(
            {change.service: (change, asked[change.service].revision) for change in ready}, busy
        )
        around = self._around(desired, observed, changes, asked)  # what is retired parks nothing any more
        for planned in ready:
            change, gates = told[planned.service] = self._gates(planned, around)
            revision = asked[change.service].revision
            shut, upgrade = closed(gates), waiting.get(change.service)
            if not shut:
                upgrade = upgrade or self.ledger.open(change, revision)
                now = self.core.clock.now()
                begun = self.core.move(upgrade, Phase.PREPARING, "", started_at=now, parked_until=None)
                self.launch(begun, asked[change.service])
            elif upgrade or not self.ledger.announced(change, revision):
                self.ledger.wait(upgrade or self.ledger.open(change, revision), shut)
        return told

    def launch(self, upgrade: Upgrade, asked: Asked | None = None) -> None:
        """Give an upgrade a task that carries it on. `asked`: the commit, where the gates are still to be looked at."""
        running = Running(
            upgrade.operation,
            Control(closed=lambda: self._closed_now(upgrade, asked), controls=self._controls),
        )
        self.running[upgrade.service] = running
        running.task = asyncio.create_task(self._carry(upgrade, running.control), name=upgrade.operation)

    async def _carry(self, upgrade: Upgrade, control: Control) -> None:
        async def carry_on() -> Upgrade:
            newest = self.core.store.upgrade(upgrade.operation) or upgrade
            return await upgrading.carry(self.core, newest, control)

        try:
            done = await endure(self.core.clock, f"operation {upgrade.operation}", carry_on)
            if done.phase is Phase.SUCCEEDED and done.after:
                self.monitor.proven(upgrade.service)
            if done.failed:
                await self.refresh()  # so that the next pass sees the pin as it stands now
        except Exception:
            # A bug: nothing else is tried with this service until someone has looked and started us again.
            log.exception("bug: operation %s of %s in %s", upgrade.operation, upgrade.service, self.name)
            with contextlib.suppress(UgsError):
                self.core.store.audit(
                    "bug", environment=self.name, service=upgrade.service, operation=upgrade.operation
                )
            self.broken[upgrade.service] = upgrade.operation
            return
        self.running.pop(upgrade.service, None)
        self.wake.set()

    def _closed_now(self, upgrade: Upgrade, asked: Asked | None) -> str:
        """Why a gate is closed at this very moment, by the newest that is known; empty when all are open."""
        desired = self.core.desired.get(self.name)
        if desired is None:
            return "the environment is gone from the repository"
        records, service = records_of(self.core, self.name), upgrade.service
        if upgrade.pinned is None and service not in planning.unwanted(
            desired, self.observed, records.removing
        ):
            return "its removal is asked for no longer"
        change = self._change(desired, service, upgrade.pinned, records)
        return "; ".join(gate.reason for gate in self._shut_for(desired, change, asked))

    def _heed_new_pins(self, desired: Desired, records: Records) -> None:
        """Tell upgrades under way that their pin has moved."""
        for service, running in self.running.items():
            upgrade = self.core.store.upgrade(running.operation)
            work = desired.workloads.get(service)
            if upgrade is None or upgrade.pinned is None or (work and work.target == upgrade.pinned.target):
                continue  # a removal looks for itself before it touches anything, and is not stopped half-way
            untouched = upgrade.phase is Phase.PREPARING
            if work is None:
                if untouched and not (desired.hidden or service in desired.blind):
                    running.control.say(aborted="it is no longer pinned")
            elif not (untouched or upgrade.phase is Phase.VERIFYING):
                continue
            elif upgrade.before and work.target == upgrade.before.target:
                running.control.say(aborted=f"the pin was moved back to {work.target.version}")
            elif untouched or not self._shut_for(desired, self._change(desired, service, work, records)):
                running.control.say(superseded=f"{work.target.version} is pinned now")

    def _change(self, desired: Desired, service: str, work: Workload | None, records: Records) -> Change:
        """What would make `work` run, or with None remove the service."""
        seen, now = self.observed.get(service), self.core.clock.now()
        if work is None:
            return planning.removal_of(desired, service, seen, records)
        return planning.change_to(desired, work, seen, records, now=now)

    def _shut_for(self, desired: Desired, change: Change, asked: Asked | None = None) -> tuple[Gate, ...]:
        known = {change.service: asked} if asked else {}
        around = self._around(desired, self.observed, [change], known)
        return closed(self._gates(change, around)[1])
