"""Notes for Git: pushed when they can be, and nothing waits for them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.engine.mail import carry_notes
from reconciler.store import NOTE
from tests.world import World

NO_NOTES = """\
#!/bin/sh
case "$1" in refs/notes/*) echo "no notes here" >&2; exit 1;; esac
"""


async def deployed_where_notes_are_refused(world: World) -> Path:
    """The remote's hook that refuses them: they come once it is gone."""
    hook = world.remote / "hooks/update"
    hook.write_text(NO_NOTES)
    hook.chmod(0o755)
    world.deploy_first("1.0.0")
    await world.settle()
    return hook


async def test_notes_that_the_remote_refuses_are_pushed_later(world: World) -> None:
    hook = await deployed_where_notes_are_refused(world)
    assert world.phases() == ["succeeded"]
    waits = []
    for _ in range(2):
        await world.deliver()
        due = world.core.store.next_due(NOTE)
        assert due is not None
        waits.append(due - world.clock.now())
        world.clock.move(timedelta(minutes=1))
    assert timedelta(0) < waits[0] < waits[1], "each time it waits longer"

    hook.unlink()
    world.clock.move(timedelta(minutes=10))
    await world.deliver()
    assert world.core.store.next_due(NOTE) is None
    assert '"outcome": "succeeded"' in world.notes(world.tip())


@pytest.mark.fault("TM-01")
async def test_no_note_waits_for_an_hour_that_the_clock_was_set_back(world: World) -> None:
    hook = await deployed_where_notes_are_refused(world)
    await world.deliver()
    assert world.core.store.next_due(NOTE) is not None
    hook.unlink()
    world.clock.set_by(timedelta(hours=-1))
    carried = asyncio.create_task(carry_notes(world.core))
    try:
        await world.eventually(lambda: world.core.store.next_due(NOTE) is None)
        assert '"outcome": "succeeded"' in world.notes(world.tip())
    finally:
        carried.cancel()
        await asyncio.gather(carried, return_exceptions=True)
