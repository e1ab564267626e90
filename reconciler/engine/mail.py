"""Carrying out what is to be told: to people through the notifier, to Git as notes. Never in anyone's way."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from datetime import timedelta

from reconciler.allocator import give_back
from reconciler.clock import Steady
from reconciler.engine.core import Core
from reconciler.engine.head import keep_head
from reconciler.engine.pull_requests.report import Reporter
from reconciler.engine.pull_requests.reverts import Follower
from reconciler.model.codec import decode
from reconciler.model.errors import UgsError
from reconciler.model.notice import Notice
from reconciler.notify import Outbox
from reconciler.store import NOTE, Note, OutboxRow, backup

log = logging.getLogger("ugs")
IDLE_S = 60.0
PRUNE_S = 3600.0
NOTES_AT_ONCE_MAX = 200
RETRY_FIRST_S = 2.0
RETRY_MAX_S = 300.0
SET_MAX_S = 60.0
"""A clock that is set by less delays nothing for long."""
BACKUP_MARK = "backup failed"


async def carry_notices(core: Core, outbox: Outbox) -> None:
    """Deliver the notices of one channel as they come and fall due, for ever.

    All channels share one event. None misses what another has cleared: whether more is due, `deliver` reads last.
    """
    while True:
        core.wake.notices.clear()
        next_at = await outbox.deliver()
        wait_s = (next_at - core.clock.now()).total_seconds() if next_at else IDLE_S
        await core.clock.wait(core.wake.notices, max(0.0, min(IDLE_S, wait_s)))


async def carry_notes(core: Core) -> None:
    """Push Git notes as they come, batched, for ever."""
    clock = Steady(core.clock)
    _hasten(core, by_s=RETRY_MAX_S)  # somebody may have set the clock back while no daemon ran
    while True:
        core.wake.notes.clear()
        if abs(clock.catch_up()) > SET_MAX_S:  # forward, too: it may have been set back again at once
            _hasten(core)
        await push_notes(core)
        next_at = core.store.next_due(NOTE)
        wait_s = (next_at - core.clock.now()).total_seconds() if next_at else IDLE_S
        await core.clock.wait(core.wake.notes, max(0.0, min(IDLE_S, wait_s)))


def _hasten(core: Core, *, by_s: float = 0.0) -> None:
    """Deliver soon what waits for an instant that is further away (by more than `by_s`) than it was when it began to
    wait, since the clock was set back: a call for a person is not an hour late for it."""
    for outbox in core.outboxes:
        outbox.let_go()
    if core.store.hasten(later_than=core.clock.now() + timedelta(seconds=by_s)):
        core.wake.notices.set()


def held_again(core: Core) -> None:
    """An environment has come into our hands: what waited for that is seen to. Pull requests of others were left out
    of every look at them, and their notes waited longer each time."""
    core.look_at_pulls()
    if core.store.hasten(later_than=core.clock.now(), channel=NOTE):
        core.wake.notes.set()


async def empty_outbox(core: Core) -> None:
    """One round of each: what cannot be delivered now is delivered by the next daemon."""
    await asyncio.gather(*(outbox.deliver() for outbox in core.outboxes))
    await push_notes(core)
    await Follower(core).round()
    if core.forge:
        await Reporter(core).round()


async def keep_house(core: Core) -> None:
    """Drop from the database what has a bound, put space by, copy it every day, and give back the memory that is free
    (that of the start at once); now and then, for ever."""
    while True:
        core.store.prune()
        core.reserve.keep()
        await back_up(core)
        await asyncio.to_thread(give_back)
        await core.clock.sleep(PRUNE_S)


async def back_up(core: Core) -> None:
    """One more copy of the database, where one is due. A failure is told once while it lasts."""
    failed = bool(core.store.marks(BACKUP_MARK))
    try:
        made = await asyncio.to_thread(backup.daily, core.settings.state, now=core.clock.now)
    except UgsError as error:
        log.error("the daily backup failed: %s", error)
        if not failed:
            text = f"the daily backup of the database failed: {error}"
            with core.store.transaction():
                core.store.mark(BACKUP_MARK, "told")
                core.store.tell(
                    Notice("", "", sentence=text, severity="person", at=core.clock.now(), title="backup")
                )
            core.wake.notices.set()
    else:
        if made:
            log.info("the database is copied to %s", made.path)
        if failed:
            core.store.mark(BACKUP_MARK, None)


async def push_notes(core: Core) -> None:
    """One round: every note that is due, in one commit on refs/notes/ugs. One of an environment that is not held
    waits until it is."""
    due = core.store.due(NOTE, core.clock.now(), limit=NOTES_AT_ONCE_MAX)
    rows, lines = list[OutboxRow](), defaultdict[str, dict[str, str]](dict)
    for row in due:
        note = decode(row.payload, Note)
        lease = core.leases.opening(json.loads(note.line)["environment"])
        if lease.open:
            rows.append(row)
            lines[note.revision][note.operation] = note.line
        else:
            core.store.postpone([row.id], at=core.clock.now() + _backoff([row]), error=lease.reason)
    if not rows:
        return
    try:
        await core.git(core.repository.mirror.add_notes, lines, at=core.clock.now())
    except UgsError as error:
        log.warning("notes could not be pushed, and will be: %s", error)
        core.store.postpone([row.id for row in rows], at=core.clock.now() + _backoff(rows), error=str(error))
    else:
        core.store.delivered([row.id for row in rows])
        await keep_head(core)


def _backoff(rows: list[OutboxRow]) -> timedelta:
    attempts = min(row.attempts for row in rows)
    return timedelta(seconds=min(RETRY_FIRST_S * 2**attempts, RETRY_MAX_S))
