from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemon_process import DaemonProcess, daemon
from tests.drivers.services import free_port
from tests.world import World, a_world


@pytest.fixture(scope="module")
def port() -> int:
    """Where the daemon listens on the network."""
    return free_port()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[World]:
    """A repository that asks for one service, and a daemon's file by which it listens."""
    with a_world(tmp_path_factory.mktemp("api")) as world:
        world.settings_more = f'listen: "127.0.0.1:{port}"\n'
        world.deploy_first("1.0.0", "api")
        yield world


@pytest.fixture(scope="module")
def served(fleet: World) -> Iterator[DaemonProcess]:
    """One daemon for all the questions of a module; none of them changes what runs."""
    with daemon(fleet) as running:
        running.until_runs("1.0.0")
        yield running
