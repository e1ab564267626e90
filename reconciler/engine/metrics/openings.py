"""The openings of windows, worked out once each: in a thread, since an odd cron line may take a while."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

from reconciler.engine.fleet import Fleet
from reconciler.model.availability import following_opening
from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.window import Interval

UNKNOWN_AGAIN_S = 3600.0
Key = tuple[str, ChangeClass]


class Openings:
    """By environment and class, the opening that is, or comes next."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._known: dict[str, tuple[Environment, dict[ChangeClass, Interval]]] = {}
        self._asked_s: dict[str, float] = {}

    async def current(self) -> Mapping[Key, Interval]:
        """What is open or opens next, as far as it is known."""
        core = self._fleet.core
        now, now_s = core.clock.now(), core.clock.monotonic()
        places = {name: desired.environment for name, desired in core.desired.items()}
        for name in self._known.keys() - places.keys():
            del self._known[name]
        stale = {name: place for name, place in places.items() if self._is_stale(name, place, now, now_s)}
        if stale:
            found = await asyncio.to_thread(_openings, stale, now)
            self._known.update({name: (stale[name], found[name]) for name in stale})
            self._asked_s.update(dict.fromkeys(stale, now_s))
        return {
            (name, kind): opening
            for name, (_, openings) in self._known.items()
            for kind, opening in openings.items()
        }

    def _is_stale(self, name: str, place: Environment, now: datetime, now_s: float) -> bool:
        if name not in self._known or self._known[name][0] != place:
            return True
        openings = self._known[name][1]
        if any(opening.end <= now for opening in openings.values()):
            return True
        # None was known of some class: a freeze or a zone may say otherwise later.
        return len(openings) < len(place.windows) and now_s - self._asked_s[name] >= UNKNOWN_AGAIN_S


def _openings(places: Mapping[str, Environment], now: datetime) -> dict[str, dict[ChangeClass, Interval]]:
    return {
        name: {
            kind: opening
            for kind in place.windows
            if (opening := following_opening(place, kind, now=now)) is not None
        }
        for name, place in places.items()
    }
