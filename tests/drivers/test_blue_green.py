"""Services that are passed their sockets: no connection is refused while releases change."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from reconciler.drivers.base import Cause, Site
from reconciler.drivers.machine import procfs
from reconciler.model.errors import HostError
from reconciler.model.release import Strategy
from reconciler.model.target import Workload
from tests.drivers.services import (
    DRIVER,
    answers,
    build_archive,
    deploy,
    free_port,
    get_json,
    the_instance,
    the_shim,
    wait_until,
    work_for,
)


def sockets_work(archives: Path, version: str, port: int, strategy: Strategy = "stop-start") -> Workload:
    archive = build_archive(archives, version, mode="sockets")
    return work_for(archive, version, port=port, passing=True, strategy=strategy)


@pytest.mark.shows("process", "blue-green")
def test_blue_green_keeps_the_port_open_and_probes_only_the_new_side(site: Site, archives: Path) -> None:
    port = free_port()
    old, new = (sockets_work(archives, v, port, "blue-green") for v in ("1.4.0", "1.5.0"))
    deploy(site, old)
    seen: list[str] = []
    enough = threading.Event()

    def hammer() -> None:
        for _ in range(2000):
            try:
                seen.append(get_json(port, "/version")["version"])
            except OSError as error:
                seen.append(str(error))
            if enough.wait(0.002):
                return

    client = threading.Thread(target=hammer)
    client.start()
    wait_until(lambda: len(seen) > 10)
    deploy(site, new)
    assert {str(t.version) for t in DRIVER.observe(site, "production")["api"].targets} == {"1.4.0", "1.5.0"}
    (old_end,), (new_end,) = DRIVER.endpoints(site, old), DRIVER.endpoints(site, new)
    assert new_end.values["port"] == str(new_end.port)
    for _ in range(5):
        assert get_json(new_end.port, "/version") == {"version": "1.5.0"}
        assert get_json(old_end.port, "/version") == {"version": "1.4.0"}
    assert DRIVER.foreign_listener(site, new, new_end) == ""
    assert "not by api" in DRIVER.foreign_listener(site, new, old_end)
    DRIVER.settle(site, new)
    so_far = len(seen)
    wait_until(lambda: len(seen) > so_far + 10 or not client.is_alive())
    enough.set()
    client.join(10)
    assert set(seen) == {"1.4.0", "1.5.0"}
    assert seen[-1] == "1.5.0"
    assert DRIVER.observe(site, "production")["api"].running == new.target


def test_a_failed_blue_green_leaves_the_old_side_which_never_went_away(site: Site, archives: Path) -> None:
    port = free_port()
    old, bad, next_one = (sockets_work(archives, v, port, "blue-green") for v in ("1.4.0", "1.5.0", "1.6.0"))
    deploy(site, old)
    before = the_instance(site)
    deploy(site, bad)
    DRIVER.restore(site, Cause("op"), old, environment="production", service="api")
    assert the_instance(site) == before
    deploy(site, next_one)  # and the old side can still hand its socket on
    assert len(DRIVER.observe(site, "production")["api"].instances) == 2


def test_stop_start_too_keeps_a_passed_socket_open(site: Site, archives: Path) -> None:
    port = free_port()
    old, new = (sockets_work(archives, v, port) for v in ("1.4.0", "1.5.0"))
    deploy(site, old)
    inode = procfs.listeners(port)[0].inode
    deploy(site, new)
    assert [listener.inode for listener in procfs.listeners(port)] == [inode]
    assert DRIVER.observe(site, "production")["api"].running == new.target
    assert get_json(port, "/version") == {"version": "1.5.0"}
    assert get_json(port, "/env")["env"]["LISTEN_FDNAMES"] == "public:probe"


@pytest.mark.parametrize("orphaned", [False, True], ids=["binds-itself", "lost-its-shim"])
def test_who_cannot_hand_the_socket_on_is_stopped_first(site: Site, archives: Path, orphaned: bool) -> None:
    port = free_port()
    if orphaned:
        old = sockets_work(archives, "1.4.0", port)
    else:
        old = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=port)
    new = sockets_work(archives, "1.5.0", port, "blue-green")
    deploy(site, old)
    wait_until(lambda: answers(port))
    if orphaned:
        os.kill(the_shim(site), signal.SIGKILL)
    deploy(site, new)
    assert get_json(port, "/version") == {"version": "1.5.0"}
    assert DRIVER.observe(site, "production")["api"].running == new.target


def test_a_change_of_port_takes_no_old_socket(site: Site, archives: Path) -> None:
    archive = build_archive(archives, "1.4.0", mode="sockets")
    port, other = free_port(), free_port()
    deploy(site, work_for(archive, "1.4.0", port=port, passing=True))
    moved = work_for(archive, "1.4.0", port=other, passing=True)
    deploy(site, moved)
    assert get_json(other, "/version") == {"version": "1.4.0"}
    assert not answers(port)


def test_blue_green_needs_passed_sockets_and_one_instance(site: Site, archives: Path) -> None:
    archive = build_archive(archives, "1.4.0")
    for work in (
        work_for(archive, "1.4.0", port=free_port(), strategy="blue-green"),
        work_for(archive, "1.4.0", port=free_port(2), strategy="blue-green", passing=True, instances=2),
    ):
        with pytest.raises(HostError, match=r"environments/production.yaml:7:8: blue-green needs"):
            DRIVER.preflight(site, work)
