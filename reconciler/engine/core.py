"""The object graph that the engine works with, and the journaled way to do anything at all."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from msgspec.structs import replace

from reconciler import probes
from reconciler.clock import Clock
from reconciler.config import Settings
from reconciler.drivers import DRIVERS
from reconciler.drivers.base import Cause, Driver, Site, Table
from reconciler.engine.fence import Fence, Fenced
from reconciler.engine.in_force import Ahead, InForce
from reconciler.engine.lanes import Lanes
from reconciler.engine.lease import Leases
from reconciler.engine.probed import Probed
from reconciler.engine.repository import Repository
from reconciler.engine.vault import OnDisk, Vault
from reconciler.engine.wakes import Wakes
from reconciler.forge import Forge
from reconciler.git import Aside
from reconciler.model import sentence
from reconciler.model.adoption import adopted
from reconciler.model.data import Recorded
from reconciler.model.delivery import Became, Provider
from reconciler.model.desired import Frozen
from reconciler.model.errors import UgsError
from reconciler.model.git_notes import line_of
from reconciler.model.hosts import Rollouts
from reconciler.model.lease import share_of
from reconciler.model.notice import Severity, notice_of
from reconciler.model.permits import held_for_data
from reconciler.model.promotion import Verdict
from reconciler.model.recovery import Account
from reconciler.model.register import Register
from reconciler.model.report import reports_of
from reconciler.model.stamped import Desires
from reconciler.model.upgrade import FINAL, NOT_BEGUN, Phase, Upgrade, check_move
from reconciler.model.verdict import Outcome
from reconciler.notify import Outbox
from reconciler.store import Note, Store
from reconciler.store.reserve import Reserve

if TYPE_CHECKING:
    import aiohttp

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("ugs")
ENDING = frozenset({"again", "restore", "settle", "tidy"})
"""The steps that only bring back, or clear away, what this daemon itself has applied on this machine."""


def no_failpoint(_name: str) -> None:
    """What runs at every failpoint outside crash tests."""


class Probing(Protocol):
    """How instances are asked whether they are well; the module `probes` says it all."""

    @property
    def session(self) -> Callable[[], AbstractAsyncContextManager[aiohttp.ClientSession]]: ...
    @property
    def probe(self) -> Callable[..., Awaitable[Outcome]]: ...


@dataclass(frozen=True)
class Core:
    """Everything an upgrade needs. The store is used from the event loop's thread alone; the rest may block."""

    settings: Settings
    store: Store
    repository: Repository
    site: Site
    clock: Clock
    outboxes: tuple[Outbox, ...]
    """One for each channel that people are told in."""
    own_key: str = ""
    """The fingerprint of the key that signs our commits, where signatures count."""
    drivers: Table = field(default_factory=lambda: DRIVERS)
    leases: Leases = field(default_factory=Leases)
    fence: Fence = field(default_factory=lambda: Fence(Leases(), ""))
    """Of the upgrade that this core is handed to; elsewhere, where nothing is applied, always open."""
    probes: Probing = probes
    vault: Vault = field(default_factory=OnDisk)
    random: Random = field(default_factory=Random)
    """Spreads what many would do at one instant; guards nothing."""
    failpoint: Callable[[str], None] = no_failpoint
    forge: Forge | None = None
    """Where pull requests are; None: nowhere."""
    aside: Aside | None = None
    """Where what pull requests propose is looked at; None: they are not previewed."""
    wake: Wakes = field(default_factory=Wakes)
    lanes: Lanes = field(default_factory=Lanes)
    asking: Lanes = field(default_factory=Lanes)
    """The same for probes that are commands: those that hang hold up neither Git nor a driver."""
    git_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One Git call that moves refs at a time."""

    desired: Desires = field(default_factory=Desires)
    """What is in force, by environment: replaced whenever a commit is accepted."""
    ahead: dict[str, Ahead] = field(default_factory=dict)
    """What is not in force because its commits are not trusted, by environment."""
    elsewhere: dict[str, Account] = field(default_factory=dict)
    """What Git tells of environments in other daemons' hands, by environment, where a train comes by them."""
    stirred: set[str] = field(default_factory=set)
    """Environments of which the health of something has changed."""
    promotions: dict[str, Mapping[str, Verdict]] = field(default_factory=dict)
    """By environment and service, what was last found about moving a pin to what soaked in the environment before."""
    flags: dict[str, Mapping[str, InForce]] = field(default_factory=dict)
    """By environment and name, the flags that are in force: what clients are answered from."""
    host: str = ""
    """The name of this machine, where environments list theirs."""
    rollouts: dict[str, Rollouts] = field(default_factory=dict)
    """What was last read of the rollouts of environments with hosts, by environment."""
    register: Register | None = None
    """Through which the hosts of one environment tell one another what became of rollouts."""
    probed: Probed = field(default_factory=Probed)
    """What probes came to over time."""
    deliveries: Counter[tuple[Provider, Became]] = field(default_factory=Counter)
    """Of webhooks, since the daemon started."""
    troubles: dict[str, str] = field(default_factory=dict)
    """Of what runs beside the daemon: by what it does not do now, why; empty where it does."""
    reviewed: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """By environment, service and commit: what is to say of the reviews of the pull request by which it came."""
    heard: list[Callable[[Upgrade, Upgrade], None]] = field(default_factory=list)
    """Who is told of every move once it is durable: the upgrade before it and after. None of them may raise or wait."""

    def epoch_and_row(self, environment: str) -> tuple[int, int]:
        """By which the notes order what comes to pass there now: the epoch of its lease, and the newest row of the
        audit."""
        head = self.store.head()
        return self.leases.last(environment), head.row if head else 0

    def look_at_pulls(self) -> None:
        """Something may have happened to the pull requests, or to whose they are: whoever follows them looks soon."""
        wake = self.wake
        bells = wake.proposals, wake.bumps, wake.previews, wake.reviews, wake.promotion_pulls, wake.promotions
        for bell in bells:
            bell.set()

    def hosted(self, environment: str) -> bool:
        """Whether the services of an environment run on several machines, each its own copy."""
        wanted = self.desired.get(environment)
        return bool(wanted and wanted.environment.hosts)

    def share(self, environment: str) -> str:
        """The lease that is needed to act on this machine: of all the environment, or of this host's share."""
        return share_of(environment, self.host) if self.hosted(environment) else environment

    @property
    def frozen(self) -> Frozen:
        """Every release as it stood when it was first deployed."""
        return self.store.frozen()

    @property
    def reserve(self) -> Reserve:
        """The space that is put by."""
        return Reserve(self.settings.state / "reserve")

    def driver(self, environment: str) -> Driver:
        """The driver of an environment; for one that is gone from the repository, the first that may be used."""
        wanted = self.desired.get(environment)
        return self.drivers[wanted.environment.driver.kind if wanted else self.settings.drivers[0]]

    def site_of(self, environment: str) -> Site:
        """What the environment's driver may use, with what its file and ugs.yaml say of the engine."""
        wanted = self.desired.get(environment)
        if wanted is None:
            return self.site
        choice = wanted.environment.driver
        return replace(self.site, options=choice.options, engine=self.settings.engines.get(choice.kind, {}))

    def adopted(self, environment: str, service: str) -> bool:
        """Whether a person lets what has the service's name, and is not ours, be taken over."""
        given = self.store.adoptions(environment)
        return adopted(given, service, now=self.clock.now()) is not None

    async def git(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """A blocking call that moves refs of the mirror, in a thread, one at a time."""
        async with self.git_lock:
            return await asyncio.to_thread(call, *args, **kwargs)

    async def drive(self, environment: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """A blocking call of an environment's driver, in a thread that no other environment waits for."""
        return await self.lanes.call(environment, call, *args, **kwargs)

    async def step(
        self, upgrade: Upgrade, name: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """One journaled step: the intent is durable before the effect, the outcome after. May run twice.

        Raises Fenced where the environment is no longer this daemon's, and TransientError where nobody knows.
        """
        await self.fence.passed(ending=name in ENDING)
        self.store.begin(upgrade.operation, name)
        self.failpoint(f"{name}:begun")
        try:
            result = await self.drive(upgrade.environment, call, *args, **kwargs)
        except UgsError as error:
            self.store.end(upgrade.operation, name, outcome="failed", detail=str(error))
            raise
        self.failpoint(f"{name}:done")
        self.store.end(upgrade.operation, name)
        return result

    def move(
        self,
        upgrade: Upgrade,
        to: Phase,
        reason: str,
        *,
        severity: Severity = "info",
        actor: str = "ugs",
        quarantine: str | None = None,
        tell: bool = True,
        ask: str = "",
        **changes: Any,
    ) -> Upgrade:
        """Move an upgrade to its next phase: row, audit, notice and Git note in one transaction.

        `quarantine`: why the target is not to be tried again; it stands before anything else happens.
        `ask`: the mark of what waits for an approval.
        Raises Fenced where the environment is no longer this daemon's, and where it was ended by what Git said.
        """
        self.fence.check(ending=True)
        known = None if upgrade.phase in NOT_BEGUN else self.store.upgrade(upgrade.operation)
        if known and known.final and not upgrade.final:
            raise Fenced(known.reason)
        if to is not upgrade.phase:
            check_move(upgrade, to)
        now = self.clock.now()
        ends = to in FINAL and not upgrade.final
        if to in FINAL:
            changes.setdefault("ended_at", now)
        if to is not upgrade.phase:
            changes["entered_at"] = now
        epoch, row = self.epoch_and_row(upgrade.environment)
        changes |= {"epoch": epoch, "row": row}
        moved = replace(upgrade, phase=to, reason=reason, changed_at=now, **changes)
        noted = moved.started_at is not None and (moved.final or moved.failed) and not moved.rollout
        # What goes well on one host of many is told of the rollout.
        tell = tell and (severity != "info" or not moved.rollout)
        whole = quarantine is None and not ends  # one record is, by itself
        with nullcontext() if whole else self.store.transaction():
            if quarantine is not None:
                self.store.quarantine(moved, reason=quarantine)
            self.store.record(
                moved,
                event=to.value,
                actor=actor,
                detail=reason,
                notices=[notice_of(moved, severity, now, ask=ask)] if tell else [],
                note=self.note_of(moved, quarantined=quarantine is not None) if noted else None,
                reports=reports_of(upgrade, moved) if self.forge else (),
            )
            if ends:
                self.store.tally(moved.environment, to.value, moved.change_class)
        self.store.afterwards(lambda: self._moved(upgrade, moved, tell=tell, noted=noted))
        return moved

    def note_of(self, upgrade: Upgrade, *, quarantined: bool = False) -> Note:
        """What the deployed commit carries of it under refs/notes/ugs. `quarantined`: its target is from now on, though
        it has not failed, as when it is stuck."""
        has_data = any(work and work.release.backup for work in (upgrade.before, upgrade.after))
        rows, name, service, hold = list[Recorded](), upgrade.environment, upgrade.service, None
        if has_data:
            rows = self.store.migrations(name, service)
            hold = held_for_data(self.store.permits(name), name, service, now=self.clock.now())
        line = line_of(upgrade, rows, quarantined=quarantined, held=hold.reason if hold else "")
        return Note(revision=upgrade.revision, operation=upgrade.operation, line=line)

    def _moved(self, upgrade: Upgrade, moved: Upgrade, *, tell: bool, noted: bool) -> None:
        """The move is durable."""
        for hear in self.heard:
            hear(upgrade, moved)
        if moved.rollout:
            self.wake.rollouts.set()
        if tell:
            self.wake.notices.set()
        if self.forge:
            self.wake.forge.set()
        if noted:
            self.wake.notes.set()
        log.info("%s", sentence.of_move(moved), extra={"upgrade": moved})
        self.failpoint(f"phase:{moved.phase.value}")


def cause_of(upgrade: Upgrade, *, adopted: bool = False) -> Cause:
    """On whose account an upgrade makes things run."""
    return Cause(upgrade.operation, upgrade.revision, adopted)
