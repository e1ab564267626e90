"""Sockets that systemd listens on for a service, and hands from release to release."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.drivers import systemd as driver
from reconciler.drivers.base import Cause
from reconciler.drivers.machine import procfs
from reconciler.drivers.systemd.bus import Manager
from reconciler.model.release import Strategy
from reconciler.model.target import Workload
from tests.drivers.services import Mode, answers, free_port, get_json, wait_until
from tests.engines.harness import Stage
from tests.engines.test_systemd import CAUSE, Machine, machine

__all__ = ["machine"]
ENGINE = "systemd"
pytestmark = [
    pytest.mark.engine,
    pytest.mark.parametrize("engine", ["systemd"], indirect=True, scope="session"),
]


def passing(machine: Machine, version: str, strategy: Strategy = "blue-green", **how: Any) -> Workload:
    return machine.work(version, "sockets", passing=True, strategy=strategy, **how)


def versions(machine: Machine) -> list[str]:
    return sorted(str(one.target.version) for one in machine.observed())


def units(machine: Machine, kind: str) -> list[str]:
    """The names of what systemd has loaded of the service, without what they begin with."""
    listed = machine.booted.run(
        "systemctl", "list-units", "--plain", "--no-legend", f"ugs-production.api*.{kind}"
    )
    return sorted(line.split()[0].removeprefix("ugs-production.") for line in listed.splitlines())


@contextlib.contextmanager
def hammered(port: int) -> Iterator[list[str]]:
    """What was answered at a port, asked again and again."""
    seen: list[str] = []
    enough = threading.Event()

    def hammer() -> None:
        while not enough.wait(0.002):
            try:
                seen.append(get_json(port, "/version")["version"])
            except OSError as error:
                seen.append(str(error))

    client = threading.Thread(target=hammer)
    client.start()
    try:
        wait_until(lambda: len(seen) > 10)
        yield seen
        so_far = len(seen)
        wait_until(lambda: len(seen) > so_far + 10)
    finally:
        enough.set()
        client.join(30)


@pytest.mark.shows("systemd", "blue-green")
def test_both_sides_have_the_port_and_the_probes_have_the_new_one_alone(machine: Machine) -> None:
    old, new = passing(machine, "1.4.0"), passing(machine, "1.5.0")
    machine.deploy(old)
    with hammered(machine.port) as seen:
        machine.deploy(new)
        assert versions(machine) == ["1.4.0", "1.5.0"]
        (old_end,), (new_end,) = driver.endpoints(machine.site, old), driver.endpoints(machine.site, new)
        assert new_end.values["port"] == str(new_end.port)
        for _ in range(5):
            assert get_json(new_end.port or 0, "/version") == {"version": "1.5.0"}
            assert get_json(old_end.port or 0, "/version") == {"version": "1.4.0"}
        assert driver.foreign_listener(machine.site, new, new_end) == ""
        driver.settle(machine.site, new)
    assert set(seen) == {"1.4.0", "1.5.0"}
    assert seen[-1] == "1.5.0"
    assert versions(machine) == ["1.5.0"]
    assert units(machine, "socket") == ["api@0b.probe.socket", f"api@{machine.port}.public.socket"]


def test_what_fails_never_took_the_old_side_away_which_hands_its_socket_on_again(machine: Machine) -> None:
    old, bad, further = (passing(machine, version) for version in ("1.4.0", "1.5.0", "1.6.0"))
    machine.deploy(old)
    before = machine.show("InvocationID")
    machine.deploy(bad)
    driver.restore(machine.site, CAUSE, old, environment="production", service="api")
    assert (machine.show("InvocationID"), versions(machine)) == (before, ["1.4.0"])
    machine.deploy(bad)
    machine.deploy(further)  # it was superseded before there was a verdict
    assert versions(machine) == ["1.4.0", "1.5.0", "1.6.0"]
    driver.settle(machine.site, further)
    assert versions(machine) == ["1.6.0"]
    machine.deploy(old)
    assert units(machine, "service") == ["api@0.service", "api@0c.service"]


def test_stop_start_too_refuses_no_connection(machine: Machine) -> None:
    old, new = passing(machine, "1.4.0", "stop-start"), passing(machine, "1.5.0", "stop-start")
    machine.deploy(old)
    inode = procfs.listeners(machine.port)[0].inode
    with hammered(machine.port) as seen:
        machine.deploy(new)
    assert [listener.inode for listener in procfs.listeners(machine.port)] == [inode]
    assert (set(seen), versions(machine)) == ({"1.4.0", "1.5.0"}, ["1.5.0"])
    machine.harness.crash_one("api")
    wait_until(lambda: versions(machine) == ["1.5.0"] and answers(machine.port))


def test_who_listens_by_itself_is_stopped_first(machine: Machine) -> None:
    machine.deploy(machine.work("1.4.0"))
    wait_until(lambda: answers(machine.port))
    new = machine.deploy(passing(machine, "1.5.0"))
    assert versions(machine) == ["1.5.0"]
    assert get_json(machine.port, "/version") == {"version": "1.5.0"}
    driver.settle(machine.site, new)
    machine.deploy(machine.work("1.6.0"))
    wait_until(lambda: answers(machine.port))
    assert get_json(machine.port, "/version") == {"version": "1.6.0"}
    assert units(machine, "socket") == []


def test_another_port_is_another_socket(machine: Machine) -> None:
    machine.deploy(passing(machine, "1.4.0"))
    was, machine.port = machine.port, free_port()
    new = machine.deploy(passing(machine, "1.5.0"))
    assert (answers(was), answers(machine.port)) == (True, True)
    driver.settle(machine.site, new)
    assert (answers(was), answers(machine.port)) == (False, True)


def test_nobody_but_ugs_starts_a_service_and_who_connects_meanwhile_waits(machine: Machine) -> None:
    work = machine.deploy(passing(machine, "1.4.0"))
    machine.booted.run("systemctl", "stop", "ugs-production.api@0.service")
    with socket.create_connection(("127.0.0.1", machine.port)) as waiting:
        waiting.sendall(b"GET /version HTTP/1.0\r\n\r\n")
        wait_until(lambda: f"api.holder@{machine.port}.public.service" in units(machine, "service"))
        assert machine.observed() == ()
        driver.apply(machine.site, Cause("repair"), work, 1)
        assert waiting.recv(1000).startswith(b"HTTP/1.0 200")
    driver.restore(machine.site, CAUSE, None, environment="production", service="api")
    assert (units(machine, "socket"), procfs.listeners(machine.port)) == ([], [])
    assert list(machine.booted.units.glob("ugs-*")) == []


def test_a_daemon_that_died_in_the_middle_goes_on_with_the_side_that_it_had_begun(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.deploy(passing(machine, "1.4.0"))

    async def dies(_manager: Manager) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Manager, "reload", dies)
        with pytest.raises(KeyboardInterrupt):
            machine.deploy(passing(machine, "1.5.0"))
    assert versions(machine) == ["1.4.0"]
    new = machine.deploy(passing(machine, "1.5.0"))
    assert versions(machine) == ["1.4.0", "1.5.0"]
    driver.settle(machine.site, new)
    assert machine.booted.show("ugs-production.api@0b.service", "ActiveState") == [{"ActiveState": "active"}]


def test_a_socket_that_somebody_edited_is_drift(machine: Machine) -> None:
    work = machine.deploy(passing(machine, "1.4.0"))
    path = machine.booted.units / f"ugs-production.api@{machine.port}.public.socket"
    path.write_text(path.read_text().replace("Backlog=1024", "Backlog=1"))
    assert machine.observed()[0].drift == f"{path} was edited"
    machine.deploy(work)
    assert machine.observed()[0].drift == ""
    assert get_json(machine.port, "/version") == {"version": "1.4.0"}


def test_at_boot_systemd_listens_before_it_starts_the_side_that_was_proven(machine: Machine) -> None:
    machine.deploy(passing(machine, "1.4.0"))
    new = machine.deploy(passing(machine, "1.5.0"))
    driver.settle(machine.site, new)
    own = [f"ugs-production.{name}" for kind in ("service", "socket") for name in units(machine, kind)]
    machine.booted.run("systemctl", "stop", *own)
    assert not answers(machine.port)
    wanted = machine.booted.run(
        "systemctl", "show", "multi-user.target", "--property=Wants", "--value"
    ).split()
    side = [name for name in wanted if name.startswith("ugs-production.api@")]
    assert side == ["ugs-production.api@0b.service"]
    machine.booted.run("systemctl", "start", *side)
    wait_until(lambda: answers(machine.port))
    [endpoint] = driver.endpoints(machine.site, new)
    assert get_json(endpoint.port or 0, "/version") == {"version": "1.5.0"}


def test_a_daemon_killed_beside_finds_both_sides_and_ends_it_once(stage: Stage) -> None:
    for version, soak in (("1.0.0", "500ms"), ("1.1.0", "5s")):
        stage.world.release(version, "sockets", soak=soak, deadline="30s", run=", socket: pass")
    stage.pin("1.0.0", strategy="blue-green")
    stage.world.merge("Deploy 1.0.0")
    with stage.daemon() as daemon:
        daemon.until_runs("1.0.0")
        stage.pin("1.1.0", strategy="blue-green")
        stage.world.merge("Bump to 1.1.0")
        daemon.until(lambda: stage.engine.instances("api") == ["1.0.0", "1.1.0"])
        daemon.kill()
    assert stage.engine.instances("api") == ["1.0.0", "1.1.0"]
    with stage.daemon() as daemon:
        stage.until_ended(daemon, "succeeded", "succeeded")
        daemon.until(lambda: stage.engine.instances("api") == ["1.1.0"])
    assert stage.world.reverts() == []


def test_a_daemon_settles_a_good_side_and_takes_a_bad_one_back(stage: Stage) -> None:
    modes: tuple[tuple[str, Mode], ...] = (("1.0.0", "sockets"), ("1.1.0", "sockets"), ("1.2.0", "crash"))
    for version, mode in modes:
        stage.world.release(version, mode, soak="500ms", deadline="20s", run=", socket: pass")
    stage.pin("1.0.0", strategy="blue-green")
    stage.world.merge("Deploy 1.0.0")
    with stage.daemon() as daemon:
        daemon.until_runs("1.0.0")
        stage.pin("1.1.0", strategy="blue-green")
        stage.world.merge("Bump to 1.1.0")
        daemon.until_runs("1.1.0")
        daemon.until(lambda: stage.engine.instances("api") == ["1.1.0"])
        stage.pin("1.2.0", strategy="blue-green")
        stage.world.merge("Bump to 1.2.0")
        stage.until_ended(daemon, "succeeded", "succeeded", "reverted")
        daemon.until(lambda: stage.engine.instances("api") == ["1.1.0"])
        assert stage.engine.answers("api") == "1.1.0"
    assert stage.world.reverts() == [stage.world.tip()]
