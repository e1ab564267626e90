"""What is remembered of very many services is read a few at a time, and is what it is when read at once."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.engine import paced, upkeep
from reconciler.engine.upkeep import all_records, records_of
from tests.store.builders import work as built
from tests.world import World

PLACE = "production"


async def test_records_that_are_read_in_pieces_are_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, sleep, slept = world.core.store, world.clock.sleep, list[float]()

    async def sleeping(duration_s: float) -> None:
        slept.append(duration_s)
        await sleep(duration_s)

    monkeypatch.setattr(world.clock, "sleep", sleeping)
    with store.transaction():
        for number in range(9):
            for version in ("1.0.0", "1.1.0")[: 1 + number % 2]:
                work = built(version, service=f"s{number}")
                store.deployed(replace(work, environment=PLACE), revision="a" * 40)
                if number != 4:
                    store.healthy(replace(work, environment=PLACE))
    whole = records_of(world.core, PLACE)
    assert len(whole.attempted) == 9
    assert not whole.good["s4"]
    for hold_s, pauses in ((0.0, 5), (3600.0, 0)):
        monkeypatch.setattr(upkeep, "ASIDE_MIN", 5)
        monkeypatch.setattr(upkeep, "AT_ONCE_MAX", 2)
        monkeypatch.setattr(paced, "HOLD_S", hold_s)
        store._forget_all()
        slept.clear()
        assert await all_records(world.core, PLACE, {}) == whole
        assert len(slept) == pauses
