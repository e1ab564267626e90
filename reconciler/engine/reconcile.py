"""One pass over one environment: observe, decide, act. It ends in a sentence for every service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from reconciler.engine import departure, flags, poison, relapse
from reconciler.engine import upgrade as upgrading
from reconciler.engine.carrying import Carrying
from reconciler.engine.control import Running
from reconciler.engine.core import Core
from reconciler.engine.deciding import Deciding
from reconciler.engine.drift import Drifts
from reconciler.engine.heed import Heed
from reconciler.engine.ledger import BEGUN_ANEW, Ledger
from reconciler.engine.missed import Missed
from reconciler.engine.monitor import Monitor
from reconciler.engine.rest import Rest, nothing_left
from reconciler.engine.share import excluded, follow
from reconciler.engine.slots import Slots
from reconciler.engine.together import leader_of
from reconciler.engine.turns import Turns
from reconciler.engine.upkeep import Repairs, adopt, all_records, concerning
from reconciler.engine.view import Looks, Seen, ServiceView, Told
from reconciler.engine.weigh import Weigher
from reconciler.model.circumstances import Circumstances
from reconciler.model.desired import Desired, alike
from reconciler.model.errors import UgsError
from reconciler.model.gates import closed, starts_at
from reconciler.model.hosts import Rollouts
from reconciler.model.observation import Observation
from reconciler.model.recovery import Recovery
from reconciler.model.settled import settled
from reconciler.model.target import Target
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
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    seen: Mapping[str, Observation] = field(default_factory=dict)
    """What the driver said last."""
    observed: Mapping[str, Observation] = field(default_factory=dict)
    """As far as it concerns what is pinned or ours."""
    running: dict[str, Running] = field(default_factory=dict)
    told: Told = field(default_factory=dict)
    """By service: the change that waits or has just started, and its gates."""
    decided: tuple[Desired, Circumstances] | None = None
    """What the last pass decided by."""
    heeded: tuple[Desired, Rollouts] | None = None
    """What `told` was worked out from, where other hosts have a say: also what was known of the rollouts by then."""
    broken: dict[str, str] = field(default_factory=dict)
    """By service: the operation that a bug of ours stopped."""
    handled: set[str] = field(default_factory=set)
    """The services that any upgrade has had in hand since what runs was asked for last, be it that it has ended."""
    left: list[Upgrade] = field(default_factory=list)
    """To be carried on by the next pass."""
    trouble: str = ""
    """Why the last pass could not observe; empty when it could."""

    def __post_init__(self) -> None:
        self.turns = Turns(self.core.clock)
        self.rest = Rest(self.core, self.name)
        self.carrying = Carrying(self)
        self.looks = Looks()
        self.monitor = Monitor(self.core, self.name, partial(relapse.go_back, self))
        self.repairs = Repairs(self.core, self.name)
        self.drifts = Drifts(self.core, self.name)
        self.ledger = Ledger(self.core, self.name)
        self.weigher = Weigher(self.core, self.name)
        self.missed = Missed(self.core, self.name)
        self.slots = Slots(self.core, self.name)
        self.deciding = Deciding(self)
        self.heed = Heed(self.core, self.name, self.deciding.shut_for)

    @property
    def busy(self) -> frozenset[str]:
        return frozenset(self.running)

    @property
    def engaged(self) -> frozenset[str]:
        """The same, and those whose upgrade was left under way: it is taken up again once the lease is held."""
        return self.busy | self.ledger.begun()

    def resume(self, unfinished: list[Upgrade]) -> None:
        """Carry on what a former daemon left under way, or this one when it lost the environment."""
        for upgrade in unfinished:
            under_way = upgrade.phase in upgrading.ACTIVE and upgrade.service not in self.running
            if not (under_way and poison.take_up(self.core, upgrade)):
                continue
            if upgrading.untouched(self.core, upgrade) and not leader_of(self.core, upgrade):
                self.core.move(upgrade, Phase.WAITING, BEGUN_ANEW, tell=False)
            else:
                log.info("carrying on %s in phase %s", upgrade.operation, upgrade.phase.value)
                self.carrying.launch(upgrade)

    async def once(self) -> None:
        """One pass, of which whoever has asked for a turn learns."""
        with self.turns.taken():
            await self._pass()

    async def tick(self) -> bool:
        """A pass, unless the last one left nothing to do and what runs is as it saw it: then False."""
        if self.rest.holds():
            with self.turns.taken():
                same = await self.core.drive(self.name, self.looks_as_seen)
            if same and self.rest.holds() and not self.wake.is_set():
                return False
        await self.once()
        return True

    def looks_as_seen(self) -> bool:
        """Ask the engine, from any thread, whether what runs is what the last pass saw."""
        seen = self.seen
        try:
            return self._observe() == seen
        except UgsError:
            return False  # the pass will tell

    async def _pass(self) -> None:
        """One pass. Trouble with the engine (the driver's) is kept in `trouble` and changes nothing."""
        core, desired = self.core, self.core.desired.get(self.name)
        self.rest.end()
        if desired is None:
            return
        poison.outlive(core, {one.operation: one.since_s for one in self.running.values()}, self.broken)
        self._launch_what_was_left()
        if flags.waiting(core, self.name):  # first: it needs nothing of the engine, which may hang
            await flags.settle(core, desired)
        if excluded(self, desired):
            return
        share = await self._settled()
        await self.slots.give_back()
        busy = self.busy
        self.handled = set(busy)
        try:
            self.seen = await self.core.drive(self.name, self._observe)
        except UgsError as error:
            self.trouble = str(error)
            log.warning("%s: what runs could not be observed: %s", self.name, error)
            return
        observed = concerning(desired, self.seen)
        self.trouble, self.observed = "", observed
        recovery = core.store.recovery(self.name)
        if self._is_behind(recovery):
            self.told = await self.deciding.weighed(desired, await all_records(core, self.name, observed))
            return
        if core.desired.fetched_at:  # else Git may yet tell of what is forgotten here
            await adopt(core, self.monitor, desired, observed, busy=self.busy, recovery=recovery)
        records = await all_records(core, self.name, observed, self._still(desired))
        await flags.settle(core, desired, flags.Seen(observed, records.good))
        self.drifts.look(desired, observed, records, busy)
        standing = core.leases.standing(share)
        if standing == "elsewhere":  # to be looked at, and left alone
            self.told = await self.deciding.weighed(desired, records)
            return
        if standing == "held":
            self.resume(core.store.upgrades(environment=self.name, unfinished=True))
        known = follow(self, desired) if desired.environment.hosts else None
        changes = await self.deciding.changes(desired, records)
        order = await self.deciding.order(desired, changes, records.settled)
        self.heed.new_pins(desired, observed, records, self.running, order)
        self.told = await self.deciding.start(desired, changes, order)
        self.heeded = (desired, known) if known else None
        if await self.drifts.mend(desired, frozenset(self.handled), recovery=recovery):
            self.wake.set()  # to see what came of it
        drifting = frozenset(self.drifts.found)  # those are made as they were, or left, as a whole
        await self.repairs.keep(desired, observed, records, drifting | self.handled, recovery=recovery)
        left = observed or records.removing or self.busy
        if desired.gone is not None and not left and core.desired.get(self.name) is desired:
            departure.close(core, self.name)
        elif standing == "held" and recovery is None and nothing_left(self, desired, records):
            self.rest.begin(desired)

    def _still(self, desired: Desired) -> frozenset[str]:
        """The services that are not gone over again, since nothing about them is to be decided. None where there are
        flags, which hang on what was good of each, nor where something else is asked for by now."""
        now = self.core.desired.get(self.name)
        if now is None or not alike(desired, now) or flags.concerned(self.core, desired):
            return frozenset()
        return settled(desired, self.observed, self.core.store.proven(self.name), self.engaged)

    def _launch_what_was_left(self) -> None:
        while self.left:
            self.carrying.launch(self.left.pop())

    async def _settled(self) -> str:
        """Whose the environment is has been asked; of what others had, also what they did. The lease that it needs."""
        share = self.core.share(self.name)
        await self.core.leases.settled(share)
        if self.core.leases.behind_s(share) is not None:
            await self.refresh()
        return share

    def _is_behind(self, recovery: Recovery | None) -> bool:
        """Whether what is remembered may be long out of date, and Git was not asked yet."""
        unread = recovery is not None and recovery.base is None
        return unread or self.core.leases.others_had(self.core.share(self.name))

    def _observe(self) -> dict[str, Observation]:
        return self.core.driver(self.name).observe(self.core.site_of(self.name), self.name)

    async def preview(self) -> None:
        """Observe and decide as a pass does, and start nothing: what `ugs plan` shows without a daemon."""
        core, desired = self.core, self.core.desired[self.name]
        if excluded(self, desired):
            return
        self.observed = concerning(desired, await self.core.drive(self.name, self._observe))
        self.told = await self.deciding.weighed(desired, await all_records(core, self.name, self.observed))

    async def controls(self) -> list[bool]:
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

    def views(self) -> Mapping[str, ServiceView]:
        """Every service as it stands at this moment."""
        return self.looks.views(self.core.desired.get(self.name), self._seen(), now=self.core.clock.now())

    def statuses(self) -> list[dict[str, Any]]:
        """The same as the status tells it; not to be changed."""
        return self.looks.statuses(self.core.desired.get(self.name), self._seen(), now=self.core.clock.now())

    def _seen(self) -> Seen:
        under_way, states = self.under_way(), dict(self.monitor.states())
        return Seen(self.observed, self.told, under_way, states, dict(self.drifts.found))

    def observed_target(self, service: str) -> Target | None:
        """What the last pass saw running."""
        observation = self.observed.get(service)
        return observation.running if observation else None

    def under_way(self) -> dict[str, Upgrade]:
        """The newest state of every upgrade that a task carries."""
        upgrades = (self.core.store.upgrade(running.operation) for running in self.running.values())
        return {upgrade.service: upgrade for upgrade in upgrades if upgrade}
