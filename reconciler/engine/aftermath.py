"""How a version has done since it succeeded, told in its note: for daemons that take it to environments of theirs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from reconciler.engine.core import Core
from reconciler.engine.soak import DEGRADED, here, places_of, told_in_force, unbroken
from reconciler.model.environment import Environment
from reconciler.model.errors import UgsError
from reconciler.model.recovery import Account, Proven

log = logging.getLogger("ugs")
LOOK_S = 60.0
"""Whatever comes and goes within, the note is said anew at most so often."""

Lines = dict[str, dict[str, str]]
"""By commit and operation."""


class Aftermath:
    """One task's. Used from the event loop's thread; Git is asked in others."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._looked: set[str] = set()
        """Environments that were looked at since they are in our hands."""
        self._owed = False
        """Whether lines were kept that may not have reached the remote."""

    async def keep(self) -> None:
        """Look every minute at environments whose health has changed; for ever."""
        while True:
            await self._core.clock.sleep(LOOK_S)
            await self.round()

    async def round(self) -> None:
        """Say what the notes do not say yet. Trouble is logged, and what was not said is said in a later round."""
        core = self._core
        ours = {name for name in core.desired if here(core, name) and not core.hosted(name)}
        self._looked &= ours
        due = ours & ((ours - self._looked) | core.stirred)
        if due:
            due &= _followed(core, await asyncio.to_thread(places_of, core))
        if not due and not self._owed:
            return
        core.stirred.difference_update(due)
        try:
            notes, found = await asyncio.to_thread(told_in_force, core)
            lines = self._lines(sorted(due), notes, found)
            if lines or self._owed:
                self._owed = True
                await core.git(core.repository.mirror.add_notes, lines, at=core.clock.now())
                self._owed = False
        except UgsError as error:
            log.warning("how versions have done since is told later: %s", error)
            core.stirred.update(due)
            return
        self._looked |= due

    def _lines(self, names: list[str], notes: Mapping[str, list[str]], found: Mapping[str, Account]) -> Lines:
        core, lines = self._core, defaultdict[str, dict[str, str]](dict)
        for name in names:
            for service, one in found.get(name, Account()).proven.items():
                if said := _news(core, name, service, one):
                    state, since = said
                    text = json.loads(_line_of(notes[one.revision], one.operation))
                    text |= {"health": state, "health_since": since.isoformat()}
                    lines[one.revision][one.operation] = json.dumps(text)
                    log.info("%s: %s %s is told to be %s", name, service, one.target.version, state)
        return dict(lines)


def _news(core: Core, environment: str, service: str, told: Proven) -> tuple[str, datetime] | None:
    """How it does and since when, where the note says otherwise."""
    good = core.store.good(environment, service, limit=1)
    if not good or good[0][0].target != told.target:
        return None
    at, known = good[0][1], told.since or told.at
    seen = core.store.transitions(environment, service, since=at)
    since, ill = unbroken(seen, at)
    if ill == DEGRADED:
        return None if told.degraded else ("degraded", core.clock.now())
    if ill or not seen:  # who does not know says nothing
        return None
    if told.degraded:  # by another daemon, maybe, whose records are not ours
        return "healthy", max(since, seen[-1].since)
    return ("healthy", since) if since > max(at, known) else None


def _line_of(texts: list[str], operation: str) -> str:
    """The line of an operation, which was read out of these."""
    return next(
        text for text in texts if f'"{operation}"' in text and json.loads(text)["operation"] == operation
    )


def _followed(core: Core, places: Mapping[str, Environment]) -> set[str]:
    """Environments from which others take what soaked there that are not in our hands."""
    return {
        place.policy.promote.from_
        for name, place in places.items()
        if place.policy.promote and not here(core, name)
    }
