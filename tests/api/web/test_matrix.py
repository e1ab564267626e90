"""What stands above the matrix, for whoever sees only a part of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.api.door import Door
from reconciler.api.web import matrix
from reconciler.api.web.cell import columns
from reconciler.api.web.page import Pages
from reconciler.engine.daemon import Daemon
from reconciler.model.rights import Caller, RoleGrant
from tests.world import World, a_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        made.deploy_first("1.0.0")
        yield made


async def nobody(_request: object) -> Caller:
    raise AssertionError("nobody knocks")


def seen(daemon: Daemon, grant: RoleGrant) -> list[str]:
    """What such a caller is told to see to."""
    pages, caller = Pages(Door(daemon, nobody)), Caller("ann", (grant,))
    found = matrix.overview(pages, caller, columns(daemon.fleet, caller))
    return [str(text) for text in found["needs"]]


async def test_everyone_is_called_for_what_he_sees_all_of(world: World) -> None:
    daemon = Daemon(world.core)
    daemon.fleet.passes.update(world.fleet.passes)
    await daemon.fleet.refresh()
    daemon.fleet.passes["production"].trouble = "the engine does not answer"
    text = "production: the engine does not answer"
    assert text in seen(daemon, RoleGrant("viewer"))
    assert text in seen(daemon, RoleGrant("viewer", ("prod*",)))
    assert seen(daemon, RoleGrant("viewer", ("production",), ("api",))) == []
    assert seen(daemon, RoleGrant("viewer", ("staging",))) == []
    daemon.fleet.needs_person = True
    daemon.fleet.sentence = "the branch was rewritten"
    assert "the branch was rewritten" in seen(daemon, RoleGrant("viewer"))
    assert "the branch was rewritten" not in seen(daemon, RoleGrant("viewer", ("production",)))


async def test_what_is_so_of_a_whole_environment_stands_at_its_name(world: World) -> None:
    daemon = Daemon(world.core)
    await daemon.fleet.refresh()
    world.core.store.hold("production", None, reason="the move", owner="ada", until=None)
    world.core.store.hold("production", "api", reason="not this", owner="ada", until=None)
    everything = Caller("ann", (RoleGrant("viewer"),))
    [column] = columns(daemon.fleet, everything)
    assert column.notices == ("held by ada: the move",)
    [column] = columns(daemon.fleet, Caller("sue", (RoleGrant("viewer", ("production",), ("api",)),)))
    assert column.notices == ()
