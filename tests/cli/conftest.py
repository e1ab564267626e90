from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemon_process import DaemonProcess, configured, daemon, run_once
from tests.world import World, a_world

NO_MAJORS = """\
timezone: UTC
freezes:
  - from: 2020-01-01
    until: 2199-12-31
    reason: no majors
    except: [emergency, initial, minor, patch, config, rollback, removal]
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three services after a commit that bumped them all: api well, web to a bad version, db into a freeze."""
    with a_world(tmp_path_factory.mktemp("fleet")) as world:
        world.more = NO_MAJORS
        world.deploy_first("1.0.0", "api", "db", "web")
        assert run_once(world)[0] == 0
        world.release("1.1.0")
        world.pin("1.1.0")
        world.release("1.1.0", "unhealthy", service="web")
        world.pin("1.1.0", "web")
        world.release("2.0.0", service="db", more="flags: {new-index: {default: true}}\n")
        world.pin("2.0.0", "db")
        world.merge("Bump all three")
        assert run_once(world)[0] == 1
        configured(world)
        yield world


@pytest.fixture(scope="module")
def served(fleet: World) -> Iterator[DaemonProcess]:
    """One daemon for all the questions of a module; none of them changes what runs."""
    with daemon(fleet) as running:
        running.until_runs("1.1.0", "api")
        running.until_runs("1.0.0", "web")
        # Until it has fetched and passed, it also waits for that.
        running.until(lambda: running.service("db")["sentence"].endswith("UTC: no majors"))
        yield running
