from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.forge.github import connection
from tests.forge.server import ForgeServer
from tests.world import World


@pytest.fixture
def forge(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForgeServer]:
    """A GitHub that the engine tells, and that keeps no pace of its own."""
    monkeypatch.setattr(connection, "REQUESTS_APART_S", 0)
    monkeypatch.setattr(connection, "WRITES_APART_S", 0)
    with ForgeServer("github", world.remote) as server:
        world.report_to(server)
        yield server
        assert server.violations == []
