"""Upgrades that wait because this machine, or the network, keeps them from going on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from reconciler.engine.core import Core
from reconciler.model.errors import HostError, TransientError
from reconciler.model.gates import PARK_MAX_S
from reconciler.model.notice import Severity
from reconciler.model.upgrade import Phase, Upgrade

PARK_FIRST_S = 10.0


def park(core: Core, upgrade: Upgrade, error: HostError | TransientError) -> Upgrade:
    """Trouble that is not the release's: wait and try again; a person is called, once."""
    return core.move(
        upgrade,
        Phase.WAITING,
        str(error),
        severity=severity_of(upgrade, error),
        tell=upgrade.tries == 0,
        **parking(core, upgrade),
    )


def severity_of(upgrade: Upgrade, error: HostError | TransientError) -> Severity:
    """A person is called the first time, and not at every try."""
    if upgrade.tries:
        return "info"
    return "person" if isinstance(error, HostError) else "warning"


def parking(core: Core, upgrade: Upgrade) -> dict[str, Any]:
    """The fields that say when it is tried again: after twice as long each time."""
    wait_s = min(PARK_FIRST_S * 2**upgrade.tries, PARK_MAX_S)
    return {"parked_until": core.clock.now() + timedelta(seconds=wait_s), "tries": upgrade.tries + 1}
