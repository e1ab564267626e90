"""What several tests of the engine begin with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.engine.repository import Repository
from reconciler.git import Identity, Mirror, Remote
from tests.fleet_repository import FleetRepository
from tests.git.colleague import ENVIRONMENT


@pytest.fixture
def repository(fleet: FleetRepository, tmp_path: Path) -> Iterator[Repository]:
    remote = Remote(str(fleet.remote), environment=ENVIRONMENT)
    with closing(Mirror(tmp_path / "mirror.git", remote, Identity("UGS", "ugs@example.org"))) as mirror:
        yield Repository(mirror, remote)
