"""An environment at rest: its last pass left nothing to do, and what it went by is as it was."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from reconciler.engine import flags
from reconciler.engine.core import Core
from reconciler.model.desired import Desired, alike
from reconciler.model.plan import Records

if TYPE_CHECKING:
    from reconciler.engine.reconcile import EnvironmentPass

REST_S_MAX = 300.0
"""A pass is made all the same from time to time, should anything ever forget to wake it."""
ALONE_S = 3600.0


class Rest:
    """Of one environment. What runs is to be looked at beside it, and whether somebody called for a pass."""

    def __init__(self, core: Core, environment: str) -> None:
        self._core = core
        self._environment = environment
        self._since: tuple[Desired, float] | None = None
        self._alone_to_s = -math.inf
        core.wake.restless.add(environment)

    def begin(self, desired: Desired) -> None:
        """A pass by `desired` had nothing to do, and nothing is left."""
        self._since = desired, self._core.clock.monotonic()
        self._core.wake.restless.discard(self._environment)

    def end(self) -> None:
        self._since = None
        self._core.wake.restless.add(self._environment)

    @property
    def begun(self) -> bool:
        """Whether a pass had nothing to do; it rests as long as that `holds`."""
        return self._since is not None

    @property
    def together(self) -> bool:
        """Whether it rests, and is looked at together with others rather than by itself."""
        return self.begun and self._core.clock.monotonic() >= self._alone_to_s

    def look_alone(self) -> None:
        """For a while: its engine takes its time."""
        self._alone_to_s = self._core.clock.monotonic() + ALONE_S

    def holds(self) -> bool:
        """Whether what is asked for is the same, and the environment still ours."""
        if self._since is None:
            return False
        core, (before, since_s) = self._core, self._since
        desired = core.desired.get(self._environment)
        return (
            desired is not None
            and alike(before, desired)
            and core.clock.monotonic() - since_s < REST_S_MAX
            and core.leases.standing(core.share(self._environment)) == "held"
        )


def nothing_left(here: EnvironmentPass, desired: Desired, records: Records) -> bool:
    """Whether nothing of the environment waits for anything but news."""
    waits = (here.told, here.left, here.running, here.broken, here.drifts.found, records.removing)
    if any(waits) or here.repairs.needed or flags.waiting(here.core, here.name):
        return False
    shared = desired.gone is not None or bool(desired.environment.hosts)
    return not shared and here.observed.keys() <= records.attempted.keys()
