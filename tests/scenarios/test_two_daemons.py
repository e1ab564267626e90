"""Two daemons with states of their own, as on two hosts, on one environment of one remote."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_process import DaemonProcess, configured, ugs
from tests.drivers.services import kill_all
from tests.world import World

pytestmark = pytest.mark.slow

LEASE = "lease: 4s\n"


@pytest.fixture
def other_state(world: World) -> Iterator[Path]:
    """Where the second daemon keeps its state; its services end with the test."""
    path = world.folder / "other"
    yield path
    kill_all(path)


def config_of(world: World, state: Path, leases: str = LEASE) -> Path:
    """A ugs.yaml for a daemon with this state, which finds commits by watching."""
    world.settings_more = leases
    config = configured(world)
    if state == world.state:
        return config
    other = config.with_name("other.yaml")
    other.write_text(config.read_text().replace(f'"{world.state}"', f'"{state}"'))
    return other


@contextlib.contextmanager
def started(world: World, state: Path, leases: str = LEASE) -> Iterator[DaemonProcess]:
    running = DaemonProcess(config_of(world, state, leases), state, environment={})
    try:
        yield running
        if running.process.poll() is None:
            assert running.stop() == 0
    finally:
        running.kill()


def lease(running: DaemonProcess) -> dict[str, object]:
    """What a daemon says of production."""
    places = running.status()["environments"]
    return dict(places[0]["lease"]) if places else {}


def watches(running: DaemonProcess) -> None:
    """Wait until it says that production is another's."""
    running.until_says("production is in the hands of daemon")
    running.until_serving()
    assert "production is in the hands of daemon" in str(lease(running)["sentence"])


@pytest.mark.fault("GT-21")
def test_only_one_of_two_acts_and_the_other_follows_when_its_host_dies(
    world: World, other_state: Path
) -> None:
    world.deploy_first("1.0.0")
    with started(world, world.state) as first:
        first.until_runs("1.0.0")
        with started(world, other_state) as second:
            watches(second)
            shown = ugs("status", "--config", world.folder / "other.yaml").stdout
            assert "\nproduction is in the hands of daemon " in shown
            world.bump("1.1.0")
            first.until_runs("1.1.0")
            second.until(lambda: second.service()["pinned"].startswith("1.1.0@"))
            assert lease(second)["held"] is False
            assert "being prepared" not in second.log()
            first.kill()
            kill_all(world.state)  # the services are lost with their host
            second.until_says("production is in our hands (epoch 2)")
            second.until_runs("1.1.0")
            assert lease(second) == {"held": True, "epoch": 2, "sentence": ""}
    assert world.answers() == "1.1.0"


@pytest.mark.fault("CR-14", "GT-21")
def test_one_that_was_stopped_for_longer_than_its_lease_does_nothing_more(
    world: World, other_state: Path
) -> None:
    world.deploy_first("1.0.0")
    with started(world, world.state) as first:
        first.until_runs("1.0.0")
        commit = world.bump("1.1.0", "unhealthy", soak="1s", deadline="20s")
        first.until_says("1.0.0 → 1.1.0 is being verified")
        first.process.send_signal(signal.SIGSTOP)
        with started(world, other_state) as second:
            second.until_says("production is in our hands (epoch 2)")
            first.process.send_signal(signal.SIGCONT)
            first.until_says("is left as it stands: production is in the hands of daemon")
            assert "is being taken back" not in first.log()
            assert (world.tip(), world.reverts()) == (commit, [])
            assert lease(first)["held"] is False
        # The second has given it back: the first goes on where it stood, and one revert is made.
        first.until(lambda: "its pin is reverted" in first.log())
        assert lease(first)["epoch"] == 3
    assert world.reverts() == [world.tip()]
    assert world.answers() == "1.0.0"
