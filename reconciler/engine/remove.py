"""Stopping a service that is pinned no longer."""

from __future__ import annotations

from functools import partial

from reconciler.drivers.base import Driver
from reconciler.engine.core import Core, cause_of
from reconciler.engine.park import park
from reconciler.model.errors import HostError, TransientError
from reconciler.model.upgrade import Phase, Upgrade


async def remove(core: Core, driver: Driver, upgrade: Upgrade) -> Upgrade:
    """Stop the service. Its files stay, its data and backups too, so that a pin brings it back without fetching."""
    name, service = upgrade.environment, upgrade.service
    try:
        await core.step(
            upgrade,
            "remove",
            partial(driver.restore, environment=name, service=service),
            core.site_of(name),
            cause_of(upgrade),
            None,
        )
    except (HostError, TransientError) as error:
        return park(core, upgrade, error)
    with core.store.transaction():
        core.store.removed(name, service)
        return core.move(upgrade, Phase.SUCCEEDED, "it is stopped")
