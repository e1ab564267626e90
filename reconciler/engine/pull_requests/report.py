"""Telling a forge how its commits stand: from the durable outbox, what is so now, and never in anyone's way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import ParamSpec, TypeVar

from reconciler.engine.core import Core
from reconciler.engine.pull_requests.comments import upsert
from reconciler.forge import Denied, Forge, Invalid, Status, Unavailable
from reconciler.model.codec import decode
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.notice import Notice
from reconciler.model.report import (
    Report,
    Standing,
    comment,
    context,
    of_rollout,
    of_upgrade,
)
from reconciler.store import FORGE, OutboxRow

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("ugs")
IDLE_S = 60.0
ROWS_MAX = 200
RETRY_FIRST_S = 2.0
RETRY_MAX_S = 300.0
DENIED_RETRY_S = 600.0
SENT_MAX = 10_000
MARK = "forge denied"


class Reporter:
    """One task's. Used from the event loop's thread; the forge is asked in others."""

    def __init__(self, core: Core) -> None:
        if core.forge is None:
            raise RuntimeError("there is no forge")
        self._core = core
        self._forge: Forge = core.forge
        self._sent: dict[tuple[str, str], Status] = {}
        """The last status of each commit and context: GitHub takes a thousand, and no news is none."""
        self._deployments = True
        """Whether the token may show them, as far as this run knows."""

    async def keep(self) -> None:
        """Look at the token first, then tell what is due, for ever."""
        core = self._core
        try:
            await self._ask(self._forge.check)
        except HostError as error:
            denied(self._core, error)
        except UgsError as error:
            log.warning("%s, and what it is to be told waits", error)
        else:
            core.store.mark(MARK, None)
        while True:
            core.wake.forge.clear()
            await self.round()
            next_at = core.store.next_due(FORGE)
            wait_s = (next_at - core.clock.now()).total_seconds() if next_at else IDLE_S
            await core.clock.wait(core.wake.forge, max(0.0, min(IDLE_S, wait_s)))

    async def round(self) -> None:
        """Tell what is due. What cannot be told waits, and so does all after it where nothing gets through."""
        core, waiting = self._core, dict[Report, list[OutboxRow]]()
        for row in core.store.due(FORGE, core.clock.now(), limit=ROWS_MAX):
            waiting.setdefault(decode(row.payload, Report), []).append(row)
        for report, rows in waiting.items():
            lease = core.leases.opening(report.environment)
            if not lease.open:
                self._postpone(rows, _backoff_s(rows), lease.reason)
                rows.clear()
                continue
            try:
                await self._tell(report)
            except Invalid as error:
                log.warning("%s (%s of %s): given up", error, report.kind, report.revision[:12])
                core.store.delivered([row.id for row in rows], error=str(error))
            except HostError as error:
                denied(self._core, error)
                self._postpone(_all(waiting), DENIED_RETRY_S, str(error))
                return
            except TransientError as error:
                log.warning("%s, and is told later", error)
                asked_s = error.retry_s if isinstance(error, Unavailable) else None
                self._postpone(_all(waiting), asked_s or _backoff_s(rows), str(error))
                return
            else:
                core.store.delivered([row.id for row in rows])
            rows.clear()

    async def _tell(self, report: Report) -> None:
        """Tell what is so now, and again where that has changed meanwhile. Raises as the forge does."""
        while (standings := self._standings(report)) is not None:
            match report.kind:
                case "status":
                    await self._set_statuses(report, standings)
                case "comment":
                    await self._comment(report, standings)
            if self._standings(report) == standings:
                return

    def _standings(self, report: Report) -> list[Standing] | None:
        """Of each service, how the newest change that the commit brought stands; None where nothing is known."""
        core, newest = self._core, dict[str, Standing]()
        if core.hosted(report.environment) and (known := core.rollouts.get(report.environment)):
            ours = (one for one in known.rollouts.values() if one.revision == report.revision)
            newest = {one.service: of_rollout(one) for one in ours}
        else:
            for upgrade in core.store.upgrades_of(report.environment, report.revision):
                newest.setdefault(upgrade.service, of_upgrade(upgrade))
        found = [one for one in newest.values() if report.service in ("", one.service)]
        return found or None

    async def _set_statuses(self, report: Report, standings: list[Standing]) -> None:
        for one in standings:
            name = context(report.environment, one.service)
            status, key = Status(name, one.state, one.sentence), (report.revision, name)
            if self._sent.get(key) == status:
                continue
            await self._ask(self._forge.set_status, report.revision, status)
            if self._deployments:
                await self._deploy(report.revision, f"{report.environment}/{one.service}", status)
            self._sent[key] = status
            while len(self._sent) > SENT_MAX:
                del self._sent[next(iter(self._sent))]

    async def _deploy(self, revision: str, where: str, status: Status) -> None:
        """Where the token may not do that, all else is told none the less."""
        try:
            await self._ask(self._forge.set_deployment, revision, where, status)
        except Denied as error:
            self._deployments = False
            denied(self._core, error)

    async def _comment(self, report: Report, standings: list[Standing]) -> None:
        """One comment, edited in place; a new one below where people have edited it. Nothing while all is under way."""
        if not any(one.final or one.waits for one in standings):
            return
        name, branch = report.environment, self._core.settings.repository.branch
        text = comment(name, standings)
        for pull in await self._ask(self._forge.pulls_with, report.revision):
            if pull.state == "merged" and pull.base == branch:
                await upsert(self._forge, pull.number, name, text)

    async def _ask(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(call, *args, **kwargs)

    def _postpone(self, rows: Iterable[OutboxRow], delay_s: float, why: str) -> None:
        at = self._core.clock.now() + timedelta(seconds=delay_s)
        self._core.store.postpone([row.id for row in rows], at=at, error=why)


def denied(core: Core, error: UgsError, *, mark: str = MARK) -> None:
    """A person has to see to the token, or to where the repository is: told once while it is so."""
    text = str(error)
    log.error("%s", text)
    if core.store.marks(mark).get(mark) == text:
        return
    with core.store.transaction():
        core.store.mark(mark, text)
        core.store.audit("forge-denied", detail=text)
        core.store.tell(
            Notice("", "", sentence=text, severity="person", at=core.clock.now(), title="the forge")
        )
    core.wake.notices.set()


def _all(waiting: dict[Report, list[OutboxRow]]) -> list[OutboxRow]:
    return [row for rows in waiting.values() for row in rows]


def _backoff_s(rows: list[OutboxRow]) -> float:
    attempts = min(row.attempts for row in rows)
    return float(min(RETRY_FIRST_S * 2.0 ** min(attempts, 20), RETRY_MAX_S))
