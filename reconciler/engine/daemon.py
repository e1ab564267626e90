"""The daemon's life: start, loops that fetch, pass and tell, and an end at a safe point."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR2
from typing import Any

from reconciler.engine.aftermath import Aftermath
from reconciler.engine.control import STOP_GRACE_S
from reconciler.engine.core import Core
from reconciler.engine.endure import endure, until_damaged
from reconciler.engine.exchange import Exchange
from reconciler.engine.fleet import Fleet
from reconciler.engine.mail import carry_notes, carry_notices, empty_outbox, held_again, keep_house
from reconciler.engine.metrics import Metrics
from reconciler.engine.news import News
from reconciler.engine.patrol import Patrol
from reconciler.engine.profiling import Profiler
from reconciler.engine.pull_requests.bumps import Bumper
from reconciler.engine.pull_requests.previews import Previewer
from reconciler.engine.pull_requests.promotions import Promoter
from reconciler.engine.pull_requests.report import Reporter
from reconciler.engine.pull_requests.reverts import Follower
from reconciler.engine.pull_requests.reviews import Reviews
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.engine.rest import REST_S_MAX
from reconciler.engine.share import unlisted
from reconciler.engine.signals import heed_signals
from reconciler.engine.supervisor import Supervisor
from reconciler.engine.trust import Untrusted
from reconciler.git import Watcher
from reconciler.model.errors import UgsError
from reconciler.model.lease import environment_of
from reconciler.model.upgrade import Phase

log = logging.getLogger("ugs")
TICK_S = 10.0
TICK_BUSY_S = 1.0
MONITOR_S = 10.0
TICK_MIN_S = 0.05
CANCEL_AGAIN_S = 1.0
JITTER = 0.1
WELL = frozenset({Phase.SUCCEEDED, Phase.SUPERSEDED, Phase.CANCELLED})


class Daemon:
    """`companions` run beside it (the API's server, say) and are cancelled at its end."""

    def __init__(self, core: Core, *, accept_first: bool = False) -> None:
        self.core = core
        self.fleet = Fleet(core, accept_first=accept_first)
        self.exchange = Exchange(core, self.fleet)
        self.patrol = Patrol(self.fleet)
        self.promoter = Promoter(self.fleet)
        self.reviews = Reviews(core, self.fleet)
        self.news = News(self.fleet)
        self.started_at = core.clock.now()
        self.metrics = Metrics(self.fleet, self.started_at)
        self.profiler = Profiler(core.clock, core.settings.state)
        self.stopping = asyncio.Event()
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, *companions: Callable[[], Awaitable[None]]) -> None:
        """Run until told to stop; services run on. Raises what a loop of ours raised: a bug ends the daemon."""
        heed_signals(
            {SIGTERM: self.stop, SIGINT: self.stop, SIGHUP: self.nudge, SIGUSR2: self.profiler.toggle}
        )
        await self.fleet.start()
        watcher = self._watch()
        supervisor = Supervisor(self.core.settings)
        telling: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            (f"notices to {outbox.channel}", partial(carry_notices, self.core, outbox))
            for outbox in self.core.outboxes
        ]
        for name, work in (
            *telling,
            ("leases", self._lease_loop),
            ("fetching", self._fetch_loop),
            ("passes", self._environment_loops),
            ("looks at rest", self.patrol.keep),
            ("rollouts", self.exchange.keep),
            ("notes", lambda: carry_notes(self.core)),
            ("aftermath", lambda: Aftermath(self.core).keep()),
            ("proposals", Follower(self.core).keep),
            ("bumps", Bumper(self.core).keep),
            ("promotions", self.promoter.keep),
            *([("the forge", Reporter(self.core).keep)] if self.core.forge else []),
            *([("reviews", self.reviews.keep)] if self.core.forge else []),
            ("probes", lambda: self.core.probed.keep(self.core.store, self.core.clock)),
            *([("previews", Previewer(self.fleet).keep)] if self.core.aside else []),
            ("housekeeping", lambda: keep_house(self.core)),
            ("news", self.news.keep),
            ("looks", self.news.keep_looking),
            ("supervisor", lambda: supervisor.keep_alive(self.core.clock)),
        ):
            self._tasks.add(asyncio.create_task(endure(self.core.clock, name, work), name=name))
        self._tasks.add(asyncio.create_task(until_damaged(self.core.store), name="database"))
        for companion in companions:
            self._tasks.add(asyncio.ensure_future(companion()))
        supervisor.say("READY=1")
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            while not stopping.done() and not any(task.done() for task in self._tasks):
                await asyncio.wait([stopping, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in self._tasks if task.done()]:
                task.result()
        finally:
            supervisor.say("STOPPING=1")
            stopping.cancel()
            await self._end(watcher)

    async def run_once(self) -> bool:
        """Fetch, and pass until nothing moves any more. True when every upgrade that ended in it ended well."""
        keeper = asyncio.create_task(endure(self.core.clock, "leases", self._lease_loop))
        resting = asyncio.create_task(self._to_rest())
        damaged = asyncio.create_task(until_damaged(self.core.store))
        try:
            await asyncio.wait([resting, damaged], return_when=asyncio.FIRST_COMPLETED)
            return await (resting if resting.done() else damaged)
        finally:
            await _cancelled([keeper, resting, damaged])
            await self.core.leases.give_back()
            await self.fleet.remembering.end()
            await self.core.probed.write(self.core.store)

    async def _to_rest(self) -> bool:
        await self.fleet.start()
        refused = False
        try:
            await self.fleet.refresh()
        except Untrusted:  # told by the fleet; what is trusted is in force
            refused = True
        while True:
            environments = list(self.fleet.passes.values())
            for environment in environments:
                environment.wake.clear()
            await asyncio.gather(*(environment.once() for environment in environments))
            carried = [task for environment in environments for task in environment.tasks()]
            if not all(task.done() for task in carried):  # what a bug has ended is still among them
                await asyncio.wait(carried)
            elif (
                not await self._exchanged()
                and not any(environment.wake.is_set() for environment in environments)
                and not await self.promoter.round()
            ):
                break
        await empty_outbox(self.core)
        ended = [u for u in self.core.store.upgrades() if u.ended_at and u.ended_at >= self.started_at]
        return not refused and not carried and all(upgrade.phase in WELL for upgrade in ended)

    async def _exchanged(self) -> bool:
        """Whether there is news of rollouts, and a look at reviews, which wakes what they concern. Trouble with either
        is logged, and keeps nothing else from its rest."""
        await self.reviews.round()
        return await self.exchange.tried()

    def stop(self) -> None:
        """Reach a safe point and end."""
        self.stopping.set()

    def nudge(self) -> None:
        """Fetch soon; many nudges are one fetch."""
        self._news.set()

    def _watch(self) -> Watcher | None:
        """A local remote is watched; whatever the watch misses, the poll finds."""
        remote, loop = self.core.repository.remote, asyncio.get_running_loop()
        if remote.local_path is None:
            return None

        def changed() -> None:
            loop.call_soon_threadsafe(self.nudge)

        watcher = Watcher(remote, changed)
        try:
            watcher.start()
        except UgsError as error:
            log.warning("the remote is polled only: %s", error)
            return None
        return watcher

    async def _lease_loop(self) -> None:
        passes, desired = self.fleet.passes, self.core.desired

        def ours() -> list[str]:
            # One that is gone, or has another name now, is given up.
            names = [name for name, here in passes.items() if name in desired or here.busy or here.left]
            names = [name for name in names if not (name in desired and unlisted(self.core, desired[name]))]
            return sorted({*names, *map(self.core.share, names)})

        def changed(name: str) -> None:
            passes[environment_of(name)].wake.set()
            if self.core.leases.standing(name) == "held":
                held_again(self.core)

        await self.core.leases.keep(ours, changed)

    async def _fetch_loop(self) -> None:
        poll_s = self.core.settings.repository.poll_s
        while True:
            told = self._news.is_set()
            self._news.clear()
            with contextlib.suppress(UgsError):  # told by the fleet; tried again at the next poll
                await self.fleet.refresh(poll=not told)
            # Spread, so that a hundred daemons do not ask one server at the same instant.
            spread = self.core.random.uniform(1 - JITTER, 1 + JITTER)
            await self.core.clock.wait(self._news, poll_s * spread)

    async def _environment_loops(self) -> None:
        """A task for each environment, so that a hung engine delays no other."""
        try:
            async with asyncio.TaskGroup() as group:
                known: set[str] = set()
                while True:
                    self.fleet.joined.clear()
                    for name in self.fleet.passes.keys() - known:
                        known.add(name)
                        here = self.fleet.passes[name]
                        for work in (self._environment_loop, self._monitor_loop):
                            group.create_task(endure(self.core.clock, name, partial(work, here)))
                    await self.fleet.joined.wait()
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None  # the first is the cause; the others were cancelled

    async def _environment_loop(self, environment: EnvironmentPass) -> None:
        """Pass, then wait for news, a gate that opens, or the next look at what runs, which at rest the patrol has."""
        while True:
            called = environment.wake.is_set()
            environment.wake.clear()
            if called:
                await environment.once()
            if called or await environment.tick():
                self.exchange.stir(environment)
                self.reviews.stir(environment)
                await environment.look(only_new=True)
                self.news.stir()
            opens = environment.opens_at()
            tick_s = REST_S_MAX if environment.rest.together else TICK_BUSY_S if environment.busy else TICK_S
            left_s = (opens - self.core.clock.now()).total_seconds() if opens else tick_s
            await self.core.clock.wait(environment.wake, min(tick_s, max(TICK_MIN_S, left_s)))

    async def _monitor_loop(self, environment: EnvironmentPass) -> None:
        while True:
            await environment.look()
            self.news.stir()
            await self.core.clock.sleep(MONITOR_S)

    async def _end(self, watcher: Watcher | None) -> None:
        await self.profiler.end()
        await self.fleet.remembering.end()
        under_way = [task for environment in self.fleet.passes.values() for task in environment.halt()]
        await _cancelled(self._tasks)  # first, so that none of them starts anything more
        if under_way and self.core.store.damage is None:  # else no safe point can be written down
            await asyncio.wait(under_way, timeout=STOP_GRACE_S)
        if all(task.done() for task in under_way):  # what did not reach a safe point may have its effect yet
            await self.core.leases.give_back()
        await _cancelled(under_way)
        if watcher:
            watcher.stop()
        with contextlib.suppress(UgsError):  # of what is lost then, nothing but a chart is drawn
            await self.core.probed.write(self.core.store)
        log.info("stopped; services run on")


async def _cancelled(tasks: Collection[asyncio.Task[Any]]) -> None:
    """End these. Asked for until it is heard: before Python 3.12, `wait_for` may swallow a cancellation."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
