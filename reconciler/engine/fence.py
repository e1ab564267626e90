"""What stands before every effect: is the environment still this daemon's to act upon?"""

from __future__ import annotations

from reconciler.engine.lease import Leases
from reconciler.model.errors import TransientError


class Fenced(Exception):
    """Nobody's error: the environment is another daemon's, and what is under way here ends where it stands."""


class Fence:
    """One upgrade's tie to the epoch under which it is carried; looked at before every effect."""

    def __init__(self, leases: Leases, environment: str) -> None:
        self._leases = leases
        self._environment = environment
        self._epoch = 0

    async def passed(self, *, ending: bool = False) -> None:
        """Return when the effect may be had, asking the remote first where that has become doubtful.

        `ending`: it only brings back, or clears away, what this daemon itself has applied on this machine: it may
        be had unless the environment is known to be another's, so that a remote that is down prolongs no outage.
        Raises Fenced; and TransientError where the remote does not say whose the environment is.
        """
        if self._leases.standing(self._environment) == "unsure":
            await self._leases.settled(self._environment)
        self.check(ending=ending)

    def check(self, *, ending: bool = False) -> None:
        """The same by what is known at this moment, from any thread."""
        standing, epoch = self._leases.standing(self._environment), self._leases.epoch(self._environment)
        if standing == "elsewhere":
            raise Fenced(self._leases.opening(self._environment).reason)
        if standing == "held":
            if self._epoch not in (0, epoch):
                raise Fenced(f"{self._environment} was in other hands meanwhile")
            self._epoch = epoch
        elif not ending:
            raise TransientError(self._leases.opening(self._environment).reason, "it goes on once it is")
