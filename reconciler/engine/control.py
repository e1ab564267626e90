"""What the pass may say to a running upgrade, and what an upgrade may ask of the pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from reconciler.model.circumstances import Asked
from reconciler.model.upgrade import Upgrade

OPERATION: ContextVar[str] = ContextVar("operation", default="")
"""Of the upgrade whose task this is: what is logged in it is about that."""
STOP_GRACE_S = 30.0
"""How long what is under way may take to reach a safe point."""


async def _never() -> str:
    return ""


@dataclass
class Control:
    """One running upgrade's ear. Everything is looked at between steps and at every round of probes."""

    closed: Callable[[], str]
    """Why a gate is closed right now; empty when all are open. Asked again just before anything is touched."""
    paused: Callable[[], Awaitable[str]] = _never
    """Why the next batch may not start right now; empty when it may."""
    controls: Callable[[], Awaitable[list[bool]]] | None = None
    """Whether healthy services that nobody touches still answer; asked before a verdict of failure."""
    take_back: Callable[[Upgrade], None] = lambda _upgrade: None
    """Let those under way that go back with this failed upgrade know, and start taking back the others."""
    taken_with: str = ""
    """The failed operation with which this one has to go back."""
    verdict: str = ""
    """A person's verdict of failure, with who and why."""
    actor: str = "ugs"
    """Whose verdict that is."""
    aborted: str = ""
    """A person moved the pin back to what was healthy, or removed it: take back what was done, blame nobody."""
    superseded: str = ""
    """Another version is pinned now, and nothing keeps it from starting once this one has made way."""
    stopping: bool = False
    """The daemon is about to end: leave everything as it stands."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def interrupted(self) -> bool:
        return bool(self.verdict or self.taken_with or self.aborted or self.superseded or self.stopping)

    def say(self, **words: str | bool) -> None:
        """Set some of the above and wake whoever waits."""
        for name, value in words.items():
            setattr(self, name, value)
        self.wake.set()


@dataclass
class Running:
    """An upgrade under way: its task and its ear. Its state is the store's."""

    operation: str
    control: Control
    since_s: float
    """When it was taken up, in monotonic seconds."""
    asked: Asked | None = None
    """The commit that asked for it; None while that is not known."""
    task: asyncio.Task[None] | None = None
