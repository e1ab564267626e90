from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.scene import PATIENT, build, let_one_wait
from tests.daemon_process import DaemonProcess, daemon
from tests.drivers.services import free_port
from tests.world import World, a_world


@pytest.fixture(scope="package")
def port() -> int:
    return free_port()


@pytest.fixture(scope="package")
def fleet(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("web")) as world:
        build(world, port)
        yield world


@pytest.fixture(scope="package")
def served(fleet: World) -> Iterator[DaemonProcess]:
    """One daemon for all pages: billing was reverted, and a major release of search waits."""
    with daemon(fleet) as running:
        for service in ("api", "billing", "search", "web", "worker"):
            running.until_runs("1.4.0", service)
        fleet.bump("1.4.2", "unhealthy", service="billing", deadline=PATIENT)
        running.until(fleet.reverts)
        running.until_runs("1.4.0", "billing")
        fleet.ada.pull_if_any()
        fleet.pin("1.4.0", "billing")
        let_one_wait(fleet)
        running.until(lambda: (running.service("search") or {})["phase"] == "waiting")
        for service in ("api", "billing", "web", "worker"):
            running.until_runs("1.4.0", service)
        yield running
