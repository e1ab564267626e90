"""What keeps an environment as it should be already: adopting what runs, and starting again what stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial

from reconciler.drivers.base import Cause
from reconciler.engine.core import Core
from reconciler.engine.data.account import adopt_migrations, tell_adoption
from reconciler.engine.monitor import Monitor
from reconciler.engine.paced import ASIDE_MIN, Piece, written
from reconciler.model.desired import Desired
from reconciler.model.drift import left_running
from reconciler.model.environment import Environment
from reconciler.model.errors import UgsError
from reconciler.model.observation import Observation
from reconciler.model.permits import may_repair
from reconciler.model.plan import Good, Records, leftovers, repairs
from reconciler.model.recovery import Recovery
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import NOT_BEGUN

log = logging.getLogger("ugs")
Mending = Callable[[Core, Cause, Workload], None]
Proved = Mapping[str, Sequence[tuple[Workload, datetime]]]
AT_ONCE_MAX = 50
REPAIR_FIRST_S = 5.0
REPAIR_MAX_S = 300.0
TOUCHING = ("apply", "before:", "remove")
"""How the steps begin that touch what runs."""


async def all_records(
    core: Core,
    environment: str,
    observed: Mapping[str, Observation],
    still: frozenset[str] = frozenset(),
) -> Records:
    """The same as `records_of`, but for what was good of those that are settled (`still`); of very many services it is
    read a few at a time, and others have the loop between."""
    found = await all_good(core, environment, core.store.attempted(environment).keys() - still)
    return _records(core, environment, observed, found, still)


async def all_good(core: Core, environment: str, services: Collection[str]) -> Proved:
    """What proved healthy of these, by service, the last first; likewise a few at a time."""
    if len(services) < ASIDE_MIN:
        return core.store.all_good(environment, services)
    found, piece, left = dict[str, Sequence[tuple[Workload, datetime]]](), Piece(core.clock), sorted(services)
    for first in range(0, len(left), AT_ONCE_MAX):
        found |= core.store.all_good(environment, left[first : first + AT_ONCE_MAX])
        await piece.rest()
    return found


def good_of(found: Proved) -> dict[str, tuple[Good, ...]]:
    return {service: tuple([Good(work, at) for work, at in known]) for service, known in found.items()}


def records_of(core: Core, environment: str, observed: Mapping[str, Observation] = {}) -> Records:
    """What is remembered of an environment; with what is observed there, also what the last upgrades left of those
    services of which something else runs now."""
    found = core.store.all_good(environment, core.store.attempted(environment))
    return _records(core, environment, observed, found)


def _records(
    core: Core,
    environment: str,
    observed: Mapping[str, Observation],
    found: Proved,
    still: frozenset[str] = frozenset(),
) -> Records:
    store, desired = core.store, core.desired.get(environment)
    attempted = store.attempted(environment)
    good = good_of(found)
    gone = desired.gone if desired and desired.gone else frozenset[str]()
    return Records(
        good=good,
        attempted=attempted,
        removing={service: False for service in gone if good.get(service)}
        | {
            upgrade.service: upgrade.phase not in NOT_BEGUN or upgrade.tries > 0
            for upgrade in store.upgrades(environment=environment, unfinished=True)
            if upgrade.after is None
        },
        left={
            service: left
            for service, observation in observed.items()
            if service not in still
            and good.get(service)
            and observation.instances
            and good[service][0].work.target not in observation.targets
            and (left := _left(core, environment, service, good[service][0].work.target))
        },
        settled=still,
    )


def _left(core: Core, environment: str, service: str, good: Target) -> Target | None:
    """What the last upgrade that touched the service left running; what was adopted, where none ever did."""
    for upgrade in core.store.upgrades(environment=environment, service=service):
        if any(step.step.startswith(TOUCHING) for step in core.store.steps(upgrade.operation)):
            return left_running(upgrade)
    return good


def concerning(desired: Desired, observed: Mapping[str, Observation]) -> dict[str, Observation]:
    """What is ours of what is seen, and of what is not ours only that which has the name of a pinned service."""
    return {
        service: observation
        for service, observation in observed.items()
        if observation.instances or service in desired.workloads
    }


async def adopt(
    core: Core,
    monitor: Monitor,
    desired: Desired,
    observed: Mapping[str, Observation],
    *,
    busy: frozenset[str],
    recovery: Recovery | None = None,
) -> None:
    """The baseline: what runs healthy, of a service without any record here, becomes its last-good.

    In safe mode, once Git has been asked, so does what runs as pinned, whatever is on record; never what failed.
    """
    if recovery and recovery.base is None:
        return
    name = desired.environment.name
    known = core.store.attempted(name).keys() | busy
    shut = {(row.service, row.target) for row in core.store.quarantined(name)}
    strange = [
        (service, target)
        for service, observation in observed.items()
        if (recovery or service not in known)
        and (target := observation.running)
        and (service, target) not in shut
        and service not in busy
        and (service not in known or (recovery and _is_news(core, desired, service, target)))
    ]
    for first in range(0, len(strange), AT_ONCE_MAX):
        few = strange[first : first + AT_ONCE_MAX]
        well = await asyncio.gather(*(_found_well(core, monitor, desired, *one) for one in few))
        writes = [partial(_adopted, core, work, desired.revision) for work in well if work]
        await written(core.store, core.clock, writes)


async def _found_well(
    core: Core, monitor: Monitor, desired: Desired, service: str, target: Target
) -> Workload | None:
    """What it is that runs, where that is known and healthy."""
    name, work = desired.environment.name, desired.workloads.get(service)
    if work is None or work.target != target:
        work = await asyncio.to_thread(
            core.repository.past.workload_of, desired.revision, name, service, target, core.frozen
        )
    return work if work and await monitor.healthy_now(work) else None


def _adopted(core: Core, work: Workload, revision: str) -> None:
    with core.store.transaction():
        core.store.deployed(work, revision=revision)
        core.store.healthy(work)
        adopt_migrations(core, work)
        tell_adoption(core, work, revision)
        names = {"environment": work.environment, "service": work.service}
        core.store.audit("adopted", detail=str(work.target), **names)
    log.info("%s: %s %s runs already and is adopted", work.environment, work.service, work.target.version)


def _is_news(core: Core, desired: Desired, service: str, target: Target) -> bool:
    """Whether what runs is what is pinned, and not what is on record as last-good."""
    pinned = desired.workloads.get(service)
    good = core.store.good(desired.environment.name, service, limit=1)
    return pinned is not None and pinned.target == target and [work.target for work, _ in good] != [target]


def known_since(recovery: Recovery | None, lacking: list[Workload], records: Records) -> list[Workload]:
    """Those of what lacks that were seen well since safe mode began: of the others nobody knows whether they
    should still run."""
    if recovery is None:
        return lacking
    return [work for work in lacking if records.good[work.service][0].at >= recovery.since]


class Repairs:
    """Starting again what should run already: no upgrade, nothing judged, nothing reverted; backed off."""

    def __init__(self, core: Core, environment: str) -> None:
        self.core = core
        self.environment = environment
        self._tried: dict[str, tuple[int, float]] = {}
        """By service: how often in a row, and not before when (monotonic seconds)."""
        self.needed = False
        """Whether the last look found anything to mend, be it that it may not be mended now."""

    async def keep(
        self,
        desired: Desired,
        observed: Mapping[str, Observation],
        records: Records,
        busy: frozenset[str],
        *,
        recovery: Recovery | None,
    ) -> None:
        """Mend all of the environment but those that are `busy`; in safe mode, what was seen well since."""
        lacking = known_since(recovery, repairs(desired, observed, records, busy), records)
        crowded = leftovers(desired, observed, records, busy)
        self.needed = bool(lacking or crowded)
        await self.mend(desired.environment, lacking, crowded)

    async def mend(self, environment: Environment, lacking: list[Workload], crowded: list[Workload]) -> None:
        """Start the lacking again, and stop what runs beside the crowded, unless it is held (no other gate counts),
        was tried too recently, or its data may be another daemon's by now."""
        if not (lacking or crowded):
            self._tried.clear()
            return
        permits, now = self.core.store.permits(self.environment), self.core.clock.now()
        strange = self._is_strange()

        def allowed(works: list[Workload]) -> list[Workload]:
            return [
                work
                for work in works
                if may_repair(permits, environment, work.service, now=now)
                and not (strange and work.release.backup)
            ]

        lacking, crowded = allowed(lacking), allowed(crowded)
        for service in self._tried.keys() - {work.service for work in (*lacking, *crowded)}:
            del self._tried[service]
        await asyncio.gather(
            *(self._try(work, start_again, "started again") for work in lacking),
            *(self._try(work, _alone, "alone again") for work in crowded),
        )

    def _is_strange(self) -> bool:
        """Whether another daemon may have migrated data meanwhile, on which what is remembered here must not start."""
        leases, name = self.core.leases, self.core.share(self.environment)
        return leases.is_shared(name) and leases.standing(name) != "held"

    async def _try(self, work: Workload, mending: Mending, mended: str) -> None:
        core, now_s = self.core, self.core.clock.monotonic()
        tries, not_before_s = self._tried.get(work.service, (0, now_s))
        if now_s < not_before_s:
            return
        self._tried[work.service] = tries + 1, now_s + min(REPAIR_FIRST_S * 2**tries, REPAIR_MAX_S)
        await mend_one(core, work, mending, mended)


async def mend_one(core: Core, work: Workload, mending: Mending, mended: str) -> None:
    """Mend one service, in a thread; how that ended is audited. `mended`: what it then is."""
    outcome = mended
    cause = Cause("repair", adopted=core.adopted(work.environment, work.service))
    try:
        await core.drive(work.environment, mending, core, cause, work)
        core.store.use_adoption(work.environment, work.service)
    except UgsError as error:
        outcome = f"could not be {mended}: {error}"
    log.info("%s: %s %s %s", work.environment, work.service, work.target.version, outcome)
    core.store.audit(
        "repair",
        environment=work.environment,
        service=work.service,
        detail=f"{work.target}: {outcome}",
    )


def start_again(core: Core, cause: Cause, work: Workload) -> None:
    """Make all of it run, fetching it anew where it is gone."""
    name = work.environment
    if name not in core.desired:
        return  # it was given another name meanwhile
    driver, site = core.driver(name), core.site_of(name)
    if driver.restorable(site, work):
        driver.prepare(site, work, core.desired[name].revision)
    driver.apply(site, cause, work, work.instances)


def _alone(core: Core, _cause: Cause, work: Workload) -> None:
    core.driver(work.environment).settle(core.site_of(work.environment), work)
