"""Who was turned away, for the audit: bounded, so that nobody fills it by knocking."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

from starlette.requests import Request

from reconciler.engine.core import Core
from reconciler.model.errors import UgsError

AGAIN = timedelta(minutes=1)
"""The same caller at the same route is told of once in this time."""
KNOWN_MAX = 100
"""So many different ones are told of in that time; the rest are not."""


class Denials:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._told: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    def remember(self, request: Request, name: str, why: UgsError) -> None:
        """`name` is empty where nobody knows who it was."""
        who = name or f"unknown at {request.client.host if request.client else 'a socket'}"
        self.note(who, f"{request.method} {request.url.path}", why)

    def note(self, who: str, what: str, why: UgsError) -> None:
        """One row, unless there is one of the same a moment ago."""
        now = self._core.clock.now()
        key = (who, what[:200])
        while self._told and now - next(iter(self._told.values())) >= AGAIN:
            self._told.popitem(last=False)
        if key in self._told or len(self._told) >= KNOWN_MAX:
            return
        self._told[key] = now
        self._core.store.audit("denied", actor=who, detail=f"{key[1]}: {why.message}")
