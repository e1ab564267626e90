"""What is remembered of very many services is read a few at a time, and is what it is when read at once."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.engine import paced, upkeep
from reconciler.engine.heed import Heed
from reconciler.engine.upkeep import all_records, records_of
from tests.build import desired, seen
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


async def test_what_was_good_of_what_is_settled_is_not_read(world: World) -> None:
    core, still = world.core, frozenset({"api"})
    works = [replace(built("1.0.0", service=name), environment=PLACE) for name in ("api", "web")]
    for work in works:
        core.store.deployed(work, revision="a" * 40)
        core.store.healthy(work)
    observed = seen(*works)
    whole, narrow = records_of(core, PLACE, observed), await all_records(core, PLACE, observed, still)
    assert narrow == replace(whole, good={"web": whole.good["web"]}, settled=still)
    assert core.store.proven(PLACE) == {work.service: str(work.target) for work in works}


async def test_what_begins_to_move_after_it_was_settled_is_known_all_the_same(world: World) -> None:
    core, work = world.core, replace(built("1.0.0", service="api"), environment=PLACE)
    core.store.deployed(work, revision="a" * 40)
    core.store.healthy(work)
    here, newer = desired(work), replace(built("1.1.0", service="api"), environment=PLACE)
    heed = Heed(core, PLACE, lambda *_: ())
    narrow = await all_records(core, PLACE, seen(work), frozenset({"api"}))
    assert "api" not in narrow.good
    change = heed._change(here, "api", newer, seen(work), narrow)
    assert change == heed._change(here, "api", newer, seen(work), records_of(core, PLACE))
    assert change.before == work
