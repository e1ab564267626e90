"""What stands before every effect: is the environment still this daemon's to act upon?"""

from __future__ import annotations

from reconciler.engine.lease import Leases
from reconciler.model.errors import TransientError


class Fenced(Exception):
    """Nobody's error: the environment is another daemon's, and what is under way here ends where it stands."""


class Fence:
    """One upgrade's tie to the epochs under which it is carried; looked at before every effect.

    `names`: of the leases that it needs, an environment's or those of shares.
    """

    def __init__(self, leases: Leases, *names: str) -> None:
        self._leases = leases
        self._epochs = dict.fromkeys(names, 0)

    @property
    def sure(self) -> bool:
        """Whether it is known at this moment that all of it is this daemon's."""
        return all(self._leases.standing(name) == "held" for name in self._epochs)

    async def passed(self, *, ending: bool = False) -> None:
        """Return when the effect may be had, asking the remote first where that has become doubtful.

        `ending`: it only brings back, or clears away, what this daemon itself has applied on this machine: it may
        be had unless the environment is known to be another's, so that a remote that is down prolongs no outage.
        Raises Fenced; and TransientError where the remote does not say whose the environment is.
        """
        for name in self._epochs:
            if self._leases.standing(name) == "unsure":
                await self._leases.settled(name)
        self.check(ending=ending)

    def check(self, *, ending: bool = False) -> None:
        """The same by what is known at this moment, from any thread."""
        for name, before in self._epochs.items():
            standing, epoch = self._leases.standing(name), self._leases.epoch(name)
            if standing == "elsewhere" or self._leases.behind_s(name) is not None:
                raise Fenced(self._leases.opening(name).reason)
            if standing == "held":
                if before not in (0, epoch):
                    raise Fenced(f"{name} was in other hands meanwhile")
                self._epochs[name] = epoch
            elif not ending:
                raise TransientError(self._leases.opening(name).reason, "it goes on once it is")
