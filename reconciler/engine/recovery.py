"""Safe mode: noticing that the database is not the newest, and learning from Git and from what runs instead."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import platform
from collections.abc import Collection, Mapping
from pathlib import Path

from msgspec.structs import replace

from reconciler.engine.control import STOP_GRACE_S
from reconciler.engine.core import Core
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.engine.upgrade import ACTIVE
from reconciler.model.errors import UgsError
from reconciler.model.notice import Notice
from reconciler.model.observation import Observation
from reconciler.model.recovery import Account, Commit, Failed, Proven, Recovery, accounts
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import Phase, Upgrade, check_move
from reconciler.store import EVERYWHERE, KNOWN, Head, Quarantine

log = logging.getLogger("ugs")
MACHINE_ID = Path("/etc/machine-id")
HISTORY_MAX = 10_000
DAEMON_MARK = "daemon"
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


class Recall:
    """What one run of the daemon does about the past, before it starts anything."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._compared = False

    async def look(self, tip: str, passes: Passes) -> None:
        """After every fetch: whether the past is known here, and where it is not, what Git says of it.

        Raises UgsError, and is then to be called again: until it has succeeded, nothing starts.
        """
        if not self._compared:
            await self._compare(passes)
            self._compared = True
        store, seen = self._core.store, set(self._core.store.marks(KNOWN))
        strangers = [name for name in passes if f"{KNOWN}{name}" not in seen]
        if not strangers and all(one.base for one in store.recoveries().values()):
            return
        told = await asyncio.to_thread(self._accounts, tip)
        with store.transaction():
            for name in strangers:
                if name in told and not store.attempted(name):
                    store.enter_recovery(name, "Git tells of upgrades here of which nothing is known")
                store.mark(f"{KNOWN}{name}", "seen")
        names = {key.removeprefix(KNOWN) for key in store.marks(KNOWN)}
        everywhere = store.recoveries().get(EVERYWHERE)
        for name in sorted(names | store.recoveries().keys() - {EVERYWHERE}):
            recovery = store.recoveries().get(name) or everywhere
            if recovery and recovery.base is None:
                await self._learn(name, recovery, told.get(name, Account()), tip, passes.get(name))
        store.keep_recovery(EVERYWHERE, None)
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

    def _accounts(self, tip: str) -> dict[str, Account]:
        mirror = self._core.repository.mirror
        commits = mirror.log(None, tip, first_parent=False, limit=HISTORY_MAX)
        now = {one.environment.renamed_from: name for name, one in self._core.desired.items()}
        return accounts(
            mirror.all_notes(),
            (Commit(commit.sha, commit.at, commit.trailers) for commit in commits),
            {old: name for old, name in now.items() if old and old not in self._core.desired},
        )

    async def _learn(
        self, name: str, recovery: Recovery, account: Account, tip: str, here: EnvironmentPass | None
    ) -> None:
        """Take over what Git says of one environment; go on taking back what failed, and end the rest."""
        store = self._core.store
        proven = await self._proven(name, account, tip)
        backwards = await self._taken_back(name, account, tip)
        with store.transaction():
            for failed in account.failed:
                store.recall_quarantine(_record(name, failed))
                store.forget_good(name, failed.service, failed.target)
            for work, one in proven:
                store.deployed(work, revision=one.revision)
                store.healthy(work, at=one.at)
            for upgrade in backwards:
                store.record(upgrade, event="taken-back-again", detail=upgrade.reason)
            self._end_the_unknown(name, account, {upgrade.operation for upgrade in backwards})
            store.keep_recovery(name, replace(recovery, base=tip))
            store.audit("recalled", environment=name, detail=f"from Git, at {tip}")
        log.warning("%s: safe mode: %s", name, recovery.reason)
        if here:
            here.left.extend(backwards)
            here.wake.set()

    async def _proven(self, name: str, account: Account, tip: str) -> list[tuple[Workload, Proven]]:
        """The last that Git says succeeded, where nothing newer is remembered and the repository describes it."""
        found = []
        for service, one in account.proven.items():
            newest = self._core.store.good(name, service, limit=1)
            if newest and newest[0][1] >= one.at:
                continue
            if work := await self._described(tip, name, service, one.target):
                found.append((work, one))
        return found

    async def _taken_back(self, name: str, account: Account, tip: str) -> list[Upgrade]:
        """What was being taken back when it was last heard of, and runs still."""
        core = self._core
        ours = {
            upgrade.operation: upgrade
            for upgrade in core.store.upgrades(environment=name, unfinished=True)
            if upgrade.phase is Phase.RESTORING
        }
        theirs = [failed for failed in account.failed if failed.restoring and failed.operation not in ours]
        if not (ours or theirs):
            return []
        seen = await asyncio.to_thread(core.driver(name).observe, core.site_of(name), name)
        found = [
            upgrade
            for upgrade in ours.values()
            if account.ended.get(upgrade.operation, Phase.RESTORING) == Phase.RESTORING
            and not account.proven_since(upgrade.service, upgrade.to, upgrade.changed_at)
            and _runs(seen, upgrade.service, upgrade.to)
        ]
        for failed in theirs:
            if _runs(seen, failed.service, failed.target):
                after = await self._described(tip, name, failed.service, failed.target)
                before = failed.restored and await self._described(tip, name, failed.service, failed.restored)
                if after and before:
                    found.append(_upgrade(name, failed, before, after))
        return found

    async def _described(self, tip: str, name: str, service: str, target: Target) -> Workload | None:
        past, frozen = self._core.repository.past, self._core.frozen
        return await asyncio.to_thread(past.workload_of, tip, name, service, target, frozen)

    def _end_the_unknown(self, name: str, account: Account, carried_on: Collection[str]) -> None:
        """Nothing goes on from where an older database left it: what came of it is in Git, or nobody knows."""
        now = self._core.clock.now()
        for upgrade in self._core.store.upgrades(environment=name, unfinished=True):
            if upgrade.phase not in ACTIVE or upgrade.operation in carried_on:
                continue
            told = account.ended.get(upgrade.operation)
            known = f"Git says: {told}" if told else "what came of it is not known"
            to = ENDS[upgrade.phase]
            check_move(upgrade, to)
            ended = replace(
                upgrade, phase=to, reason=f"safe mode: {known}", changed_at=now, ended_at=now, failed=False
            )
            # No note: it would take the place of what Git says.
            self._core.store.record(ended, event=to.value, detail=ended.reason)


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
            text = f"{name}: safe mode is over: accepted by {actor}"
            core.store.tell(
                Notice(
                    name, "", sentence=text, severity="info", at=core.clock.now(), title=f"{name}: safe mode"
                )
            )
    for name in wanted:
        if name in passes:
            passes[name].wake.set()
    core.wake.notices.set()
    return wanted


async def keep_head(core: Core) -> None:
    """Let the remote remember how far this database has come. Never in anyone's way."""
    head = core.store.head()
    if head is None:
        return
    try:
        await core.git(core.repository.mirror.keep_head, daemon_id(core), str(head), at=core.clock.now())
    except UgsError as error:
        log.info("the remote does not remember how far the database has come: %s", error)


def daemon_id(core: Core) -> str:
    """Sixteen hex digits: made from the machine and the state folder, so that it is found again when both are
    what is left; kept from then on, whatever they become."""
    kept = core.store.marks(DAEMON_MARK)
    if DAEMON_MARK in kept:
        return kept[DAEMON_MARK]
    machine = MACHINE_ID.read_text() if MACHINE_ID.is_file() else platform.node()
    made = hashlib.sha256(f"{machine.strip()}\0{core.settings.state}".encode()).hexdigest()[:16]
    core.store.mark(DAEMON_MARK, made)
    return made


def _runs(seen: Mapping[str, Observation], service: str, target: Target | None) -> bool:
    return service in seen and target in seen[service].targets


def _record(environment: str, failed: Failed) -> Quarantine:
    return Quarantine(
        operation=failed.operation,
        environment=environment,
        service=failed.service,
        target=failed.target,
        restored=failed.restored,
        reason=failed.reason,
        quarantined_at=failed.at,
        revert_commit=failed.revert_commit,
    )


def _upgrade(environment: str, failed: Failed, before: Workload, after: Workload) -> Upgrade:
    """The upgrade that Git tells of, as it stood when its target had just failed."""
    return Upgrade(
        operation=failed.operation,
        environment=environment,
        service=failed.service,
        change_class="rollback",
        revision=failed.revision,
        attempt=1,
        phase=Phase.RESTORING,
        before=before,
        after=after,
        running=after.target,
        created_at=failed.at,
        changed_at=failed.at,
        started_at=failed.at,
        reason=failed.reason,
        failed=True,
    )
