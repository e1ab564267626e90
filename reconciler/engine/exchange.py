"""What the hosts of an environment tell one another through Git, and the revert that the holder of its lease makes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from reconciler.engine.core import Core
from reconciler.engine.fence import Fence, Fenced
from reconciler.engine.fleet import Fleet
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.engine.revert import put_back
from reconciler.engine.share import as_upgrade, may_begin, reports_of, unlisted, wanted_of
from reconciler.model.codec import decode, encode
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.hosts import (
    FAILED,
    STATES_TOLD,
    Reports,
    Rollout,
    Rollouts,
    State,
    progressed,
    settled,
)
from reconciler.model.notice import Notice, Severity
from reconciler.model.register import ABSENT, Move
from reconciler.model.report import Report
from reconciler.model.upgrade import Phase
from reconciler.store import Note

T = TypeVar("T", Rollouts, Reports)
Found = Mapping[str, tuple[str, str]]
"""By reference, its value and its text."""
log = logging.getLogger("ugs")
MARK = "rollout told: "
JITTER = 0.1
PHASES: dict[State, Phase] = {
    "running": Phase.APPLYING,
    "failing": Phase.RESTORING,
    "reverted": Phase.REVERTED,
    "left": Phase.RESTORED,
    "withdrawn": Phase.CANCELLED,
    "succeeded": Phase.SUCCEEDED,
}
"""In the words of one upgrade."""
SEVERITIES: dict[State, Severity] = {"failing": "warning", "reverted": "warning", "left": "person"}


class Exchange:
    """Used from the event loop's thread. Where no environment lists hosts, it asks nobody anything."""

    def __init__(self, core: Core, fleet: Fleet) -> None:
        self._core = core
        self._fleet = fleet
        self._ready: dict[str, tuple[str, frozenset[str], Rollouts | None]] = {}
        """By environment, which changes could begin when that was last looked at, at which revision, and where it is
        for this daemon to begin them, by what was known of the rollouts."""

    async def keep(self) -> None:
        """One round whenever something happened here, and after every `repository.poll`; for ever."""
        core = self._core
        while True:
            core.wake.rollouts.clear()
            await self.tried()
            spread = core.random.uniform(1 - JITTER, 1 + JITTER)
            await core.clock.wait(core.wake.rollouts, core.settings.repository.poll_s * spread)

    def stir(self, here: EnvironmentPass) -> None:
        """After a pass: what is decided otherwise than before may let a rollout begin."""
        desired = self._core.desired.get(here.name)
        if desired is None or not desired.environment.hosts:
            return
        ready = frozenset(name for name, (_, gates) in here.told.items() if may_begin(gates))
        carries = self._core.leases.standing(here.name) == "held"
        found = desired.revision, ready, here.heeded[1] if carries and here.heeded else None
        if self._ready.get(here.name) != found:
            self._ready[here.name] = found
            self._core.wake.rollouts.set()

    async def tried(self) -> bool:
        """A round, whose trouble is logged: the next may do better."""
        try:
            return await self.round()
        except (UgsError, Fenced) as error:
            log.warning("rollouts: %s", error)
            return False

    async def round(self) -> bool:
        """Read, say what is new here, and carry on what is ours to carry. True when anything was new."""
        core = self._core
        here = {name: one for name, one in self._fleet.passes.items() if self._ours(name)}
        if not here or core.register is None:
            return False
        held = {name for name in here if core.leases.standing(name) == "held"}
        own = (f"hosts/{name}/" if name in held else f"hosts/{name}/{core.host}" for name in here)
        found = await asyncio.to_thread(core.register.read, "rollout/", *own)
        news = False
        for name, one in here.items():
            news |= await self._report(name, found)
            before = core.rollouts.get(name)
            core.rollouts[name] = _parsed(found, f"rollout/{name}", Rollouts)
            if name in held:
                await self._carry(name, one, found)
            else:
                self._tell(name)  # of what it moved before it lost the lease, or died
            if core.rollouts[name] != before:
                one.wake.set()
                news = True
        return news

    def _ours(self, name: str) -> bool:
        desired = self._core.desired.get(name)
        return desired is not None and self._core.hosted(name) and not unlisted(self._core, desired)

    async def _report(self, name: str, found: Found) -> bool:
        """Let the others know what came of rollouts here, where that is news to them."""
        core, ref = self._core, f"hosts/{name}/{self._core.host}"
        said = reports_of(core, name, _parsed(found, f"rollout/{name}", Rollouts))
        if found.get(ref, (ABSENT, "{}"))[1] == encode(said).decode():
            return False
        if core.leases.standing(core.share(name)) != "held":
            return False
        told = ", ".join(f"{service} {one.outcome}" for service, one in said.reports.items())
        return await self._put(
            ref, found, f"{core.host} of {name}: {told or 'nothing'}", encode(said).decode()
        )

    async def _carry(self, name: str, here: EnvironmentPass, found: Found) -> None:
        """The part of whoever holds the lease of the environment."""
        core, desired = self._core, self._core.desired[name]
        known = core.rollouts[name]
        begun = f"hosts/{name}/"
        said = {
            ref.removeprefix(begun): _parsed(found, ref, Reports) for ref in found if ref.startswith(begun)
        }
        said[core.host] = reports_of(core, name, known)
        wanted = await wanted_of(here, desired)
        gone = known.rollouts.keys() - wanted.keys() - desired.blind if not desired.hidden else ()
        after = progressed(
            known, desired.environment, wanted, said, unpinned=gone, host=core.host, now=core.clock.now()
        )
        published = await self._publish(name, after, found)
        self._tell(name)
        if published:
            for service, rollout in after.rollouts.items():
                if rollout.state == "failing":
                    await self._take_back(name, service)

    async def _publish(self, name: str, after: Rollouts, found: Found | None = None) -> bool:
        """Put it in place of what is known. False where another daemon was faster, or the lease is lost."""
        core, ref = self._core, f"rollout/{name}"
        if after == core.rollouts[name]:
            return True
        if found is None and core.register is not None:
            found = await asyncio.to_thread(core.register.read, ref)
        await Fence(core.leases, name).passed()
        changed = [
            one for service, one in after.rollouts.items() if core.rollouts[name].rollouts.get(service) != one
        ]
        subject = (
            ", ".join(f"{one.service} {one.to.version} {one.state}" for one in changed[:3]) or "less to know"
        )
        core.failpoint("rollout:begun")
        if not await self._put(ref, found or {}, f"{name}: {subject}", encode(after).decode()):
            return False
        core.failpoint("rollout:done")
        core.rollouts[name] = after
        return True

    async def _put(self, ref: str, found: Found, subject: str, text: str) -> bool:
        core = self._core
        if core.register is None:
            return False
        moves = {ref: Move(found.get(ref, (ABSENT, ""))[0], subject, text)}
        answer = (await asyncio.to_thread(core.register.swap, moves, at=core.clock.now()))[ref]
        if isinstance(answer, UgsError):
            log.warning("rollouts: refs/ugs/%s: %s", ref, answer)
            return False
        return True

    async def _take_back(self, name: str, service: str) -> None:
        """Put the pin of a failing rollout back, once, whoever begins or ends it."""
        core, desired = self._core, self._core.desired[name]
        rollout, commit, left = core.rollouts[name].rollouts[service], None, ""
        policy = desired.environment.policy.revert
        if policy == "off":
            left = "policy.revert is off"
        else:
            try:
                whole = dataclasses.replace(core, fence=Fence(core.leases, name))
                await whole.fence.passed()
                outcome = await put_back(whole, as_upgrade(desired, rollout), policy)
                commit, left = outcome.commit, outcome.left.get(service, "")
                if outcome.proposal:
                    core.store.propose(outcome.proposal)
                    core.wake.proposals.set()
            except (HostError, TransientError):
                raise
            except UgsError as error:
                left = f"the pin could not be reverted: {error}"
        after = settled(
            core.rollouts[name], service, commit=commit, left=left, host=core.host, now=core.clock.now()
        )
        if await self._publish(name, after):
            self._tell(name)
        await self._fleet.refresh()

    def _tell(self, name: str) -> None:
        """Of every rollout that this daemon has moved, once for each move: audit, notice and note."""
        core, told = self._core, self._core.store.marks(f"{MARK}{name}/")
        for service, one in core.rollouts[name].rollouts.items():
            mark, state = f"{MARK}{name}/{service}", f"{one.operation} {one.state}"
            if one.by != core.host or told.get(mark) == state:
                continue
            why = f": {one.reason}" if one.reason else ""
            text = f"{name}: {service} {one.to.version} {STATES_TOLD[one.state]}{why}"
            with core.store.transaction():
                core.store.mark(mark, state)
                core.store.audit(
                    f"rollout-{one.state}",
                    environment=name,
                    service=service,
                    operation=one.operation,
                    detail=text,
                )
                core.store.tell(_notice(name, one, text, self._core))
                core.store.write_note(_note(name, one, core))
                if core.forge:
                    core.store.report(Report("status", one.revision, name, service))
                    core.store.report(Report("comment", one.revision, name))
            log.info("%s", text)
            core.wake.notices.set()
            core.wake.notes.set()
            core.wake.forge.set()


def _notice(name: str, rollout: Rollout, text: str, core: Core) -> Notice:
    return Notice(
        environment=name,
        service=rollout.service,
        sentence=text,
        severity=SEVERITIES.get(rollout.state, "info"),
        at=core.clock.now(),
        operation=rollout.operation,
        phase=PHASES[rollout.state].value,
        revision=rollout.revision,
        title=f"{name}: {rollout.service} {rollout.from_.version if rollout.from_ else 'new'} → {rollout.to.version}",
    )


def _note(name: str, rollout: Rollout, core: Core) -> Note:
    """The line that the deployed commit carries of the whole rollout, as that of one upgrade."""
    ended, (epoch, row) = rollout.ended_at, core.epoch_and_row(name)
    line: dict[str, object] = {
        "operation": rollout.operation,
        "environment": name,
        "service": rollout.service,
        "class": rollout.change_class,
        "from": str(rollout.from_) if rollout.from_ else None,
        "to": str(rollout.to),
        "outcome": PHASES[rollout.state].value,
        "started_at": rollout.started_at.isoformat(),
        "ended_at": ended.isoformat() if ended else None,
        "duration_s": round((ended - rollout.started_at).total_seconds(), 3) if ended else None,
        "hosts": len(core.desired[name].environment.hosts),
        "epoch": epoch,
        "row": row,
    }
    if rollout.state in FAILED:
        line |= {"reason": rollout.reason, "quarantined": str(rollout.to)}
    if rollout.commit:
        line["revert_commit"] = rollout.commit
    return Note(revision=rollout.revision, operation=rollout.operation, line=json.dumps(line))


def _parsed(found: Found, ref: str, kind: type[T]) -> T:
    """What a reference says. Raises HostError where it is not what we write."""
    value, text = found.get(ref, (ABSENT, ""))
    if not value:
        return kind()
    try:
        return decode(text, kind)
    except (msgspec.MsgspecError, ValueError) as error:
        what = f"{value[:12]}, which refs/ugs/{ref} names, cannot be read ({error})"
        raise HostError(what, "see who put it there, and delete that ref") from error
