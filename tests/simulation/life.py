"""One life of the daemon: the real engine, put together over the simulated world."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

from reconciler import config
from reconciler.config import Settings
from reconciler.drivers.base import Site
from reconciler.engine.core import Core
from reconciler.engine.daemon import Daemon
from reconciler.engine.lease import Leases
from reconciler.engine.remote_lease import RemoteLeases
from reconciler.engine.repository import Repository
from reconciler.model.errors import HostError
from reconciler.model.snapshot import Cache
from reconciler.notify import Outbox
from reconciler.store.opening import notice_loss
from tests.simulation import trust
from tests.simulation.asking import Decisions
from tests.simulation.data import SimulatedVault
from tests.simulation.database import Connection, SimulatedStore
from tests.simulation.loop import Loop, VirtualClock
from tests.simulation.remote import Clone

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

PARSED = Cache()
"""Files by their blob's id: what they say is the same in every seed."""
SETTINGS = Settings(
    file=Path("/etc/ugs/ugs.yaml"),
    repository=config.Repository(url="/fleet.git", poll_s=5.0, max_stale_s=8.0),
    identity=config.Identity(email="UGS@example.org"),
    state=Path("/var/lib/ugs"),
)


class Life:
    """One daemon, from its start to its end."""

    def __init__(self, simulation: Simulation) -> None:
        self.loop = Loop(simulation.scheduler, simulation.latency, simulation.time)  # type: ignore[abstract]  # the rest is never asked for
        self.clock = VirtualClock(self.loop, simulation.time, simulation.wall.now)
        connection = Connection(simulation.disk, simulation.weather, simulation.may_kill)
        loss = simulation.loss
        newest = loss.witness.read() if loss else None
        store = SimulatedStore(connection, now=self.clock.now, witness=loss.witness if loss else None)
        if loss:
            notice_loss(store, newest, was_there=loss.was_there, lost=loss.damage)
            loss.was_there, loss.damage = True, ""
        self.clone = Clone(
            simulation.remote, simulation.refs, simulation.link, simulation.race, simulation.facts.accepted
        )
        repository = Repository(cast(Any, self.clone), cast(Any, simulation.remote))
        repository._cache = PARSED
        simulation.register.told_s.clear()  # what a former daemon was told died with it
        if simulation.board:
            simulation.board.forget()
        leases = RemoteLeases(cast(Any, simulation.register), simulation.holder, store, self.clock)
        settings = simulation.settings
        if simulation.rules.trusted:
            settings = dataclasses.replace(settings, trust=trust.settings(simulation))
        self.core = Core(
            settings=settings,
            store=store,
            repository=repository,
            site=Site(state=simulation.settings.state, secret=_no_secret, blob=repository.file),
            clock=self.clock,
            outboxes=(Outbox(store, simulation.messenger, now=self.clock.now),),
            drivers={"process": simulation.driver},
            probes=cast(Any, simulation.probes),
            vault=SimulatedVault(simulation.world, simulation.holder.host),
            random=Random(simulation.scheduler.random()),
            leases=leases if simulation.rules.leased else Leases(),
            host=simulation.holder.host if simulation.board else "",
            register=cast(Any, simulation.board),
            forge=cast(Any, simulation.proposing.forge if simulation.proposing else None),
            own_key=trust.OWN_KEY if simulation.rules.trusted else "",
            promotions=cast(Any, Decisions(simulation.asking.decided) if simulation.asking else {}),
            failpoint=lambda name: simulation.may_kill(f"at {name}"),
        )
        self.daemon = Daemon(self.core)
        self.fleet = self.daemon.fleet
        self.task = self.loop.create_task(self.daemon.run())
        self.said: list[asyncio.Task[Any]] = []


def _no_secret(name: str, environment: str, service: str) -> str:
    raise HostError(f"the secret {name} is not granted", "grant it")
