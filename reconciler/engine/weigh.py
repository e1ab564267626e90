"""Gathering what the gates look at: the commit that asked, the order of changes, records and people's words."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from reconciler.clock import Steady
from reconciler.engine.core import Core
from reconciler.engine.paced import Piece
from reconciler.engine.soak import proved
from reconciler.engine.together import taken_back
from reconciler.engine.trust import has_movers, strange_step
from reconciler.model.circumstances import Asked, Circumstances, Gate, Promoted
from reconciler.model.desired import Desired, Frozen
from reconciler.model.expectation import expected_of
from reconciler.model.impact import running_of
from reconciler.model.observation import Observation
from reconciler.model.order import Arrangement, Running, arrange
from reconciler.model.plan import Change, unwanted
from reconciler.model.target import Target
from reconciler.model.upgrade import Phase
from reconciler.store import Advance

log = logging.getLogger("ugs")
ASKED_MAX = 10_000
SET_MAX_S = 60.0
"""A wall clock that is set by more makes every age doubtful."""


class Weigher:
    """For one environment. Which commit asked for a change is worked out once per tip and target."""

    def __init__(self, core: Core, environment: str) -> None:
        self._core = core
        self._name = environment
        self._asked: dict[tuple[str, str, Target | None, tuple[str, ...]], Asked] = {}
        self._clock = Steady(core.clock)
        self._unsure: datetime | None = None
        self._known: tuple[str, list[Advance]] = "", []
        self._later: dict[tuple[str, str], bool] = {}
        """By the tip at which safe mode began and a commit: whether that came later."""

    async def asked(self, desired: Desired, change: Change) -> Asked:
        """The commit that asked for this change, and what stood before it."""
        key = desired.revision, change.service, change.to, change.path
        if key not in self._asked:
            if len(self._asked) >= ASKED_MAX:
                self._asked.clear()
            frozen = self._core.frozen
            asked = self._asked_at_once(desired, change, frozen)
            if asked is None:
                advances = self._advances(desired.revision)
                asked = await asyncio.to_thread(self._sought, desired, change, frozen, advances)
            self._asked[key] = asked
        asked, recovery = self._asked[key], self._core.store.recovery(self._name)
        if recovery and recovery.base and (pair := (recovery.base, asked.revision)) not in self._later:
            is_ancestor = self._core.repository.mirror.is_ancestor
            self._later[pair] = not await asyncio.to_thread(is_ancestor, asked.revision, recovery.base)
        return asked

    async def all_asked(self, desired: Desired, changes: Sequence[Change]) -> dict[str, Asked]:
        """The same of every change, by service."""
        found, piece = dict[str, Asked](), Piece(self._core.clock)
        for change in changes:
            found[change.service] = await self.asked(desired, change)
            await piece.rest()
        return found

    async def all_expected(self, desired: Desired, changes: Sequence[Change]) -> dict[str, float]:
        """By service, how long each change is expected to take, in seconds."""
        found, piece = dict[str, float](), Piece(self._core.clock)
        for change in changes:
            found |= self._expected(desired, [change])
            await piece.rest()
        return found

    def _expected(self, desired: Desired, changes: Sequence[Change]) -> dict[str, float]:
        kind, store = desired.environment.driver.kind, self._core.store
        return {
            change.service: expected_of(store.durations(self._name, change.service), change.after, kind)
            for change in changes
            if change.after
        }

    def _advances(self, tip: str) -> list[Advance]:
        """What stood in the database when this tip came into force: read once for all its changes."""
        if self._known[0] != tip:
            self._known = tip, self._core.store.advances()
        return self._known[1]

    def _asked_at_once(self, desired: Desired, change: Change, frozen: Frozen) -> Asked | None:
        if has_movers(self._core, self._name):
            return None  # who wrote what lies on the way is a question to Git
        newest = next(iter(self._core.store.advances(advances_max=1)), None)
        return self._core.repository.past.asked_at_once(
            desired.revision, self._name, change.service, change.goal, frozen, newest
        )

    def _sought(self, desired: Desired, change: Change, frozen: Frozen, advances: Sequence[Advance]) -> Asked:
        """Blocking."""
        past = self._core.repository.past
        asked = past.asked(desired.revision, self._name, change.service, change.goal, frozen, advances)
        return replace(asked, strange=strange_step(self._core, desired, change))

    def circumstances(
        self,
        desired: Desired,
        observed: Mapping[str, Observation],
        changes: Sequence[Change],
        *,
        asked: Mapping[str, Asked],
        busy: frozenset[str],
        fetched_at: datetime | None,
        first_accepted: bool,
        order: Arrangement | None = None,
        expected_s: Mapping[str, float] | None = None,
    ) -> Circumstances:
        """What the gates look at, as it stands at this moment. `order`, `expected_s`: of the changes, where it is known
        already."""
        store = self._core.store
        recovery = store.recovery(self._name)
        unfinished = store.upgrades(environment=self._name, unfinished=True)
        order = order or arrangement(desired, observed, changes)
        return Circumstances(
            environment=desired.environment,
            observed=observed,
            quarantined={
                (row.service, row.target): f"{row.reason}; operation {row.operation}"
                for row in store.quarantined(self._name)
            },
            busy=busy,
            fetched_at=self._surely(fetched_at),
            max_stale_s=self._core.settings.repository.max_stale_s,
            initials=sum(change.change_class == "initial" for change in changes),
            first_accepted=first_accepted or store.has_deployed(self._name),
            gone=desired.gone is not None,
            unwanted=unwanted(desired, observed, {one.service for one in unfinished if one.after is None}),
            parked={
                upgrade.service: (upgrade.reason, upgrade.parked_until)
                for upgrade in unfinished
                if upgrade.parked_until is not None and upgrade.phase is Phase.WAITING
            },
            distrusted=self._distrusted(),
            refused=order.refused,
            after=order.after,
            taken_back=taken_back(self._core, self._name),
            fate=self._fate(asked) if desired.environment.policy.atomic else {},
            permits=store.permits(self._name),
            floor=self._core.settings.floor_approvals,
            asked=asked,
            reviewed={
                service: text
                for service, one in asked.items()
                if (text := self._core.reviewed.get((self._name, service, one.revision)))
            },
            lease=self._core.leases.opening(self._core.share(self._name)),
            host=self._core.host,
            rollouts=rollouts.rollouts if (rollouts := self._core.rollouts.get(self._name)) else {},
            promoted=self._promoted(desired, changes, asked),
            recovery=recovery,
            later=frozenset(
                service
                for service, one in asked.items()
                if recovery and recovery.base and self._later.get((recovery.base, one.revision))
            ),
            expected_s=self._expected(desired, changes) if expected_s is None else expected_s,
        )

    def _distrusted(self) -> dict[tuple[str, Target], Gate]:
        ahead, desired = self._core.ahead.get(self._name), self._core.desired.get(self._name)
        if ahead is None:
            return {}
        in_force = {work.target for work in desired.workloads.values()} if desired else set()
        pins = ahead.desired.workloads.values()
        return {(work.service, work.target): ahead.gate for work in pins if work.target not in in_force}

    def _fate(self, asked: Mapping[str, Asked]) -> dict[str, str]:
        """By service: what failed of the commit that asks for it, and stays quarantined."""
        rows = [self._core.store.upgrade(row.operation) for row in self._core.store.quarantined(self._name)]
        failed = {row.revision: row for row in rows if row}
        return {
            service: f"it came in one commit with {row.service} {row.to.version}, which failed "
            f"(operation {row.operation}), and shares its fate (policy.atomic)"
            for service, commit in asked.items()
            if (row := failed.get(commit.revision)) and row.to and row.service != service
        }

    def _surely(self, fetched_at: datetime | None) -> datetime | None:
        """The last fetch; None where the wall clock was set since, so that nobody knows how long ago that is."""
        set_s = self._clock.catch_up()
        if abs(set_s) > SET_MAX_S:
            self._unsure = fetched_at
            text = f"the clock was set by {set_s:+.0f} s: nothing starts before the next fetch"
            log.warning("%s: %s", self._name, text)
            self._core.store.audit("clock-set", environment=self._name, detail=text)
        return None if fetched_at == self._unsure else fetched_at

    def _promoted(
        self, desired: Desired, changes: Sequence[Change], asked: Mapping[str, Asked]
    ) -> dict[tuple[str, str], Promoted]:
        """What has proved healthy wherever a rule of now, or of before a change was asked for, looks."""
        places = [desired.environment, *(then.environment for one in asked.values() for then in one.earlier)]
        names = {place.policy.promote.from_ for place in places if place.policy.promote}
        pairs = ((name, change.service) for name in names for change in changes)
        return {pair: found for pair in pairs if (found := proved(self._core, *pair))}


def arrangement(
    desired: Desired,
    observed: Mapping[str, Observation],
    changes: Sequence[Change],
    settled: frozenset[str] = frozenset(),
) -> Arrangement:
    """The order of the changes as they will be in the end: what is on its way counts as arrived.

    `settled`: services that run as they are pinned; of those only what needs others, or is needed, is looked at.
    """
    if not changes:
        return Arrangement((), {}, {})
    last = {change.service: change.before for change in changes}
    running = {
        service: running_of(target, desired.releases.get(service, {}).get(target.version), last.get(service))
        for service, observation in observed.items()
        if service not in settled and (target := observation.running)
    }
    if settled:
        running |= _linked(desired, changes, running, settled)
    return arrange((replace(change, after=change.goal) for change in changes), running)


def _linked(
    desired: Desired, changes: Sequence[Change], running: Mapping[str, Running], settled: frozenset[str]
) -> dict[str, Running]:
    """Of what is settled, that which needs others or is needed: nothing else has a say in any order."""
    releases = [work.release for work in desired.workloads.values()]
    releases += [change.goal.release for change in changes if change.goal]
    needed = {one for release in releases if release.requires for one in release.requires}
    needed.update(one for runs in running.values() for one in runs.requires)
    return {
        service: Running(work.target.version, work.release.requires)
        for service in settled
        if (work := desired.workloads[service]).release.requires or service in needed
    }
