"""Safe mode: noticing that the database is not the newest, and learning from Git and from what runs instead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from reconciler.engine.control import STOP_GRACE_S
from reconciler.engine.core import Core
from reconciler.engine.data import has_migrated
from reconciler.engine.data.account import recalled
from reconciler.engine.head import daemon_id
from reconciler.engine.names import names_now
from reconciler.engine.recalled import as_it_left, quarantined, restoring, runs
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.engine.remembered import Remembered
from reconciler.engine.rename import heirs_of
from reconciler.engine.told import told
from reconciler.model.errors import UgsError
from reconciler.model.notice import Notice, notice_of
from reconciler.model.recovery import Account, Failed, Proven, Recovery
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import NOT_BEGUN, Phase, Upgrade, check_move
from reconciler.store import EVERYWHERE, KNOWN, Head

log = logging.getLogger("ugs")
SUPERSEDED_MARK = "head superseded"
ENDS = {
    Phase.PREPARING: Phase.CANCELLED,
    Phase.APPLYING: Phase.CANCELLED,
    Phase.VERIFYING: Phase.SUPERSEDED,
    Phase.RESTORING: Phase.CANCELLED,
    Phase.REVERTING: Phase.RESTORED,
}
"""How an upgrade ends whose own end nobody remembers."""

Passes = Mapping[str, EnvironmentPass]


class Why(NamedTuple):
    """Why Git is asked of the past: in words, and how an upgrade ends whose own end nobody remembers."""

    text: str
    ends: dict[Phase, Phase]


SAFE = Why("safe mode", ENDS)
LENT = Why(
    "it was in another daemon's hands",
    # What puts a pin back asks the remote what became of that, and goes on.
    {phase: to for phase, to in ENDS.items() if phase is not Phase.REVERTING},
)


class Recall:
    """What one run of the daemon does about the past, before it starts anything."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._compared = False
        self._met: tuple[int, frozenset[str]] | None = None  # when nobody was strange; passes only grow

    async def look(self, tip: str, passes: Passes, asked_s: float) -> None:
        """After every fetch: whether the past is known here, and where it is not, what Git says of it.

        `asked_s`: when the fetch began, in monotonic seconds. Raises UgsError, and is then to be called again: until
        it has succeeded, nothing starts.
        """
        if not self._compared:
            await self._compare(passes)
            self._compared = True
        store, leases, lent = self._core.store, self._core.leases, self._core.leases.lent()
        met = len(passes), store.marked(KNOWN)
        strangers = [] if met == self._met else sorted(passes.keys() - met[1])
        self._met = None if strangers else met
        behind = [
            name
            for name in (passes if lent else ())
            if name in lent and (at_s := leases.behind_s(name)) is not None and at_s <= asked_s
        ]
        if not strangers and not behind and all(one.base for one in store.recoveries().values()):
            return
        accounts = await asyncio.to_thread(self._accounts, tip, heirs_of(self._core))
        with store.transaction():
            for name in strangers:
                if name in accounts and not store.attempted(name):
                    store.enter_recovery(name, "Git tells of upgrades here of which nothing is known")
                store.mark(f"{KNOWN}{name}", "seen")
        names = store.marked(KNOWN)
        everywhere = store.recoveries().get(EVERYWHERE)
        for name in sorted(names | store.recoveries().keys() - {EVERYWHERE}):
            recovery = store.recoveries().get(name) or everywhere
            if recovery and recovery.base is None:
                await self._recover(name, recovery, accounts.get(name, Account()), tip, passes.get(name))
        store.keep_recovery(EVERYWHERE, None)
        for name in behind:
            if not self._core.hosted(name):  # there each host has records of its own share
                if _is_under_way(passes[name]):  # under a lease that has ended
                    continue
                await self._learn(name, LENT, accounts.get(name, Account()), tip, passes[name])
            leases.caught_up(name)
            passes[name].wake.set()
        self._core.wake.notices.set()

    async def _compare(self, passes: Passes) -> None:
        """Whether the remote has seen a newer database of this daemon than this one."""
        store = self._core.store
        line = await self._core.git(self._core.repository.mirror.head_of, daemon_id(self._core))
        head = Head.parse(line) if line else None
        if head is None or store.contains(head) or store.marks(SUPERSEDED_MARK) == {SUPERSEDED_MARK: line}:
            return
        found = store.head()
        with store.transaction():
            store.mark(SUPERSEDED_MARK, line)
            store.enter_recovery(
                EVERYWHERE,
                f"the remote remembers row {head.row} of this daemon's audit, which is not in {store.path} "
                f"(it ends at row {found.row if found else 0})",
            )
        if under_way := [task for here in passes.values() for task in here.halt()]:
            await asyncio.wait(under_way, timeout=STOP_GRACE_S)

    def _accounts(self, tip: str, heirs: Mapping[str, str]) -> dict[str, Account]:
        repository, desired = self._core.repository, self._core.desired
        return told(self._core, tip, names_now(repository, desired.now, tip, heirs)).accounts

    async def _recover(
        self, name: str, recovery: Recovery, account: Account, tip: str, here: EnvironmentPass | None
    ) -> None:
        """What safe mode begins with: from now on, a pin that a later commit moves may start."""
        await self._learn(name, SAFE, account, tip, here)
        self._core.store.keep_recovery(name, replace(recovery, base=tip))
        log.warning("%s: safe mode: %s", name, recovery.reason)

    async def _learn(
        self, name: str, why: Why, account: Account, tip: str, here: EnvironmentPass | None
    ) -> None:
        """Take over what Git says of one environment; go on taking back what failed, and end the rest."""
        store = self._core.store
        past = Remembered(self._core, name, account, lost=why is SAFE)
        gone = [service for service, place in account.removed.items() if past.is_gone(service, place)]
        proven = await self._proven(name, past, tip)
        backwards = await self._taken_back(name, past, tip)
        goes_on = await self._going_on(name, account) if why is LENT else set()
        good = {work.service: work.target for work, _ in proven}
        carried = goes_on | {upgrade.operation for upgrade in backwards}
        describe = partial(self._described, tip, name)
        data = await recalled(self._core, name, account, describe, good, carried, lost=why is SAFE)
        with store.transaction():
            for bad in account.failed:
                store.recall_quarantine(quarantined(name, bad))
            for bad in past.fallen():
                store.forget_good(name, bad.service, bad.target)
            for service in gone:
                store.removed(name, service)
            for work, one in proven:
                store.deployed(work, revision=one.revision)
                store.healthy(work, at=self._since(name, one))
            data.record(self._core, name)
            for upgrade in backwards:
                store.record(upgrade, event="taken-back-again", detail=upgrade.reason)
            self._end_the_unknown(name, why, account, carried)
            store.audit("recalled", environment=name, detail=f"from Git, at {tip}")
        if here:
            if why is SAFE:  # else whoever carries it still is let go first; the next pass takes it up
                here.left.extend(backwards)
            here.wake.set()

    async def _proven(self, name: str, past: Remembered, tip: str) -> list[tuple[Workload, Proven]]:
        """The last that Git says succeeded, where nothing newer is remembered and the repository describes it."""
        found = list[tuple[Workload, Proven]]()
        for service, one in past.news():
            if work := await self._described(tip, name, service, one.target):
                found.append((work, one))
        return found

    def _since(self, name: str, one: Proven) -> datetime:
        """Since when it counts as healthy here: nobody's word is taken for how long it has been so. In safe mode it
        was not seen well yet."""
        store, now = self._core.store, self._core.clock.now()
        recovery = store.recovery(name)
        heard_at = recovery.since - timedelta(microseconds=1) if recovery else now
        return heard_at if one.place.epoch else min(one.at, heard_at)

    async def _taken_back(self, name: str, past: Remembered, tip: str) -> list[Upgrade]:
        """What was being taken back when it was last heard of, and runs still."""
        core, account = self._core, past.account
        ours = {
            upgrade.operation: upgrade
            for upgrade in core.store.upgrades(environment=name, unfinished=True)
            if upgrade.phase is Phase.RESTORING
        }
        theirs = [
            failed
            for failed in account.failed
            if failed.restoring and failed.operation not in ours and not self._is_past_that(failed)
        ]
        if not (ours or theirs):
            return []
        seen = await core.drive(name, core.driver(name).observe, core.site_of(name), name)
        found = [
            upgrade
            for upgrade in ours.values()
            if account.ended.get(upgrade.operation, Phase.RESTORING) == Phase.RESTORING
            and not past.is_proven_since(upgrade)
            and runs(seen, upgrade.service, upgrade.to)
        ]
        for failed in theirs:
            if runs(seen, failed.service, failed.target):
                after = await self._described(tip, name, failed.service, failed.target)
                before = failed.restored and await self._described(tip, name, failed.service, failed.restored)
                if after and before:
                    found.append(restoring(name, failed, before, after, core.clock.now()))
        return found

    def _is_past_that(self, failed: Failed) -> bool:
        """Whether an upgrade had left `restoring` here already, which Git is told at its end alone: what runs was
        brought back, or is left alone for its data's sake."""
        ours = self._core.store.upgrade(failed.operation)
        return ours is not None and (ours.final or ours.phase is Phase.REVERTING)

    async def _going_on(self, name: str, account: Account) -> set[str]:
        """What this daemon left under way, of which Git tells nothing and nothing else runs: what was being proven,
        and what has changed its data, is brought to its end."""
        core, shut = self._core, {(one.service, one.target) for one in account.failed}
        left = [
            upgrade
            for upgrade in core.store.upgrades(environment=name, unfinished=True)
            if (upgrade.phase is Phase.VERIFYING or has_migrated(core, upgrade))
            and upgrade.operation not in account.ended
            and (upgrade.service, upgrade.to) not in shut
        ]
        if not left:
            return set()
        seen = await core.drive(name, core.driver(name).observe, core.site_of(name), name)
        return {upgrade.operation for upgrade in left if as_it_left(upgrade, seen.get(upgrade.service))}

    async def _described(self, tip: str, name: str, service: str, target: Target) -> Workload | None:
        past, frozen = self._core.repository.past, self._core.frozen
        return await asyncio.to_thread(past.workload_of, tip, name, service, target, frozen)

    def _end_the_unknown(self, name: str, why: Why, account: Account, carried_on: Collection[str]) -> None:
        """Nothing goes on from where it was left: what came of it is in Git, or nobody knows."""
        now = self._core.clock.now()
        for upgrade in self._core.store.upgrades(environment=name, unfinished=True):
            ended_as = account.ended.get(upgrade.operation)
            # What only waits here and was carried out elsewhere is another attempt when it is made again.
            ends = why.ends | (dict.fromkeys(NOT_BEGUN, Phase.CANCELLED) if ended_as else {})
            if upgrade.phase not in ends or upgrade.operation in carried_on:
                continue
            reason = f"{why.text}: {f'Git says: {ended_as}' if ended_as else 'what came of it is not known'}"
            commit = account.reverts.get(upgrade.operation, upgrade.revert_commit)
            to = Phase.REVERTED if commit and upgrade.phase is Phase.REVERTING else ends[upgrade.phase]
            check_move(upgrade, to)
            ended = replace(upgrade, phase=to, reason=reason, changed_at=now, ended_at=now, failed=False)
            ended = replace(ended, revert_commit=commit)
            # No note: it would take the place of what Git says.
            notices = [notice_of(ended, "info", now)]
            self._core.store.record(ended, event=to.value, detail=ended.reason, notices=notices)


def _is_under_way(here: EnvironmentPass) -> bool:
    """Whether something may still change what runs. Its end begins the pass in which Git is asked again."""
    return any(not task.done() for task in here.halt())


def accept(core: Core, passes: Passes, environment: str | None, *, actor: str) -> list[str]:
    """A person's word that what is known now will do: upgrades start again. The environments that it ended for.

    Raises UgsError where Git has not been asked yet, or there is nothing to accept.
    """
    found = core.store.recoveries()
    wanted = [name for name in found if environment is None or name in (environment, EVERYWHERE)]
    if not wanted:
        raise UgsError(f"{environment or 'no environment'} is not in safe mode", "there is nothing to accept")
    if unread := [name for name in wanted if found[name].base is None]:
        raise UgsError(
            f"{', '.join(filter(None, unread)) or 'all'}: what Git says of the past has not been read yet",
            "wait for a fetch that succeeds, or see why none does: `ugs status`",
        )
    with core.store.transaction():
        for name in wanted:
            core.store.keep_recovery(name, None)
            core.store.audit("safe-mode-accepted", environment=name, actor=actor, detail=found[name].reason)
            text, title = f"{name}: safe mode is over: accepted by {actor}", f"{name}: safe mode"
            at = core.clock.now()
            core.store.tell(Notice(name, "", sentence=text, severity="info", at=at, title=title))
    for name in wanted:
        if name in passes:
            passes[name].wake.set()
    core.wake.notices.set()
    return wanted
