"""The bells of the daemon's tasks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Wakes:
    """What has the tasks that tell, follow and propose look at once: set by whoever leaves them something to do."""

    forge: asyncio.Event = field(default_factory=asyncio.Event)
    proposals: asyncio.Event = field(default_factory=asyncio.Event)
    bumps: asyncio.Event = field(default_factory=asyncio.Event)
    previews: asyncio.Event = field(default_factory=asyncio.Event)
    promotions: asyncio.Event = field(default_factory=asyncio.Event)
    promotion_pulls: asyncio.Event = field(default_factory=asyncio.Event)
    """With the one before: the forge is to be asked too, though it was lately."""
    reviews: asyncio.Event = field(default_factory=asyncio.Event)
    notices: asyncio.Event = field(default_factory=asyncio.Event)
    notes: asyncio.Event = field(default_factory=asyncio.Event)
    rollouts: asyncio.Event = field(default_factory=asyncio.Event)
    restless: set[str] = field(default_factory=set)
    """Environments that do not rest: whatever comes into force, a pass is made over them."""
