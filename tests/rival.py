"""Another daemon that wants the same environment, by hand: its lease in the remote, and what it writes into notes."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

from reconciler.git import GitRegister, Identity, Remote
from reconciler.model.codec import decode, encode
from reconciler.model.lease import Claim
from reconciler.model.register import ABSENT, Move
from reconciler.model.upgrade import Phase
from tests.git.colleague import AT, ENVIRONMENT
from tests.world import WAIT_S, World

REF = "refs/ugs/lease/production"
BOB = Claim("b0b", "web-2", 7, 0, 90.0)


class Rival:
    """Another daemon's lease, put there by hand."""

    def __init__(self, world: World) -> None:
        remote = Remote(str(world.remote), environment=ENVIRONMENT)
        self.register = GitRegister(
            world.folder / "rival.git", remote, Identity("R", "r@x"), network_timeout_s=30
        )

    def claim(self) -> Claim | None:
        """What stands in the ref now."""
        found = self.register.read().get("production")
        return decode(found[1], Claim) if found else None

    def takes(self, claim: Claim = BOB) -> None:
        self.puts(encode(claim).decode())

    def puts(self, body: str) -> None:
        expected, _ = self.register.read().get("production", (ABSENT, ""))
        moved = self.register.swap({"production": Move(expected, "Lease", body)}, at=AT)
        assert isinstance(moved["production"], str)

    def gives_back(self, epoch: int = 7) -> None:
        self.takes(Claim("b0b", "web-2", epoch, 99, 0.0))


async def a_third_passes(world: World) -> None:
    """Of the lease, and a little: a round of renewing and looking, from its beginning to its end."""
    await world.eventually(lambda: world.clock.waiting)
    world.clock.move(timedelta(seconds=31))
    async with asyncio.timeout(WAIT_S):
        while world.clock.waiting:  # noqa: ASYNC110 - it is over in the next turns of the loop
            await asyncio.sleep(0)
    await world.eventually(lambda: world.clock.waiting)


async def bob_takes_it(world: World, rival: Rival) -> None:
    """The environment, with the second epoch; and the daemon has had the time to see it."""
    rival.takes(Claim("b0b", "web-2", 2, 0, 90.0))
    await a_third_passes(world)


async def bob_gives_it_back(world: World, rival: Rival) -> None:
    rival.gives_back(2)
    await a_third_passes(world)


async def tell(
    world: World, commit: str, outcome: Phase, operation: str = "0123456789abcdef", **more: object
) -> None:
    """What another daemon writes of what is pinned into the notes, once it has the environment."""
    pinned = world.fleet.core.desired["production"].workloads.get("api")
    target = str(pinned.target) if pinned else None
    line = {
        "operation": operation,
        "environment": "production",
        "service": "api",
        "from": None,
        "to": target,
        "outcome": outcome.value,
        "ended_at": world.clock.now().isoformat(),
    }
    if outcome is not Phase.SUCCEEDED:
        line |= {"reason": "answers status 500", "quarantined": target}
    lines = {commit: {operation: json.dumps(line | more)}}
    await world.core.git(world.core.repository.mirror.add_notes, lines, at=world.clock.now())
