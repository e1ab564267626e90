"""Keeping what was read of the repository for a daemon that starts after this one: nobody waits for it."""

from __future__ import annotations

import asyncio

from reconciler.engine.repository import Repository
from reconciler.model.snapshot import Snapshot

LATER_S = 5.0
"""So long after a commit came into force. Of many that follow one another the last is written down, once."""


class Remembering:
    """The first at once, since a whole repository is not to be read twice; of what is lost of the others, a few files
    are."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._begun = False
        self._snapshot: Snapshot | None = None
        """What is yet to be kept."""
        self._timer: asyncio.TimerHandle | None = None

    def keep(self, snapshot: Snapshot) -> None:
        """What was read of the revision that is in force from now on."""
        if not self._repository.remembers:
            return
        self._snapshot = snapshot
        if not self._begun:
            self._begun = True
            self._write()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LATER_S, self._write)

    def _write(self) -> None:
        """In a thread of its own."""
        self._timer = None
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is not None:
            asyncio.get_running_loop().run_in_executor(None, self._repository.remember, snapshot)

    async def end(self) -> None:
        """What is yet to be kept is kept now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is not None:
            await asyncio.to_thread(self._repository.remember, snapshot)
