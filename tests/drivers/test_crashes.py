"""Crashing services, killed shims, killed daemons: one instance runs in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reconciler.drivers import process
from reconciler.drivers.base import Cause, Site
from reconciler.drivers.process import instance
from reconciler.drivers.process.group import groups
from reconciler.model.codec import encode
from tests.drivers.services import (
    DRIVER,
    Mode,
    answers,
    build_archive,
    deploy,
    free_port,
    get_json,
    gone,
    stop,
    the_group,
    the_instance,
    the_shim,
    wait_until,
    work_for,
)


def test_a_crashing_service_is_started_again_with_growing_pauses(
    site: Site, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "BACKOFF_S", 0.02)
    monkeypatch.setattr(instance, "BACKOFF_MAX_S", 0.08)
    work = work_for(build_archive(archives, "1.4.0", mode="crash"), "1.4.0", port=free_port())
    deploy(site, work)

    def lines() -> list[str]:
        return [line for line in DRIVER.logs(site, "production", "api", lines=100) if "[ugs]" in line]

    wait_until(lambda: len(lines()) >= 4)
    pauses = [line.rpartition("in ")[2] for line in lines()[:4]]
    assert pauses == ["0.02 s", "0.04 s", "0.08 s", "0.08 s"]
    wait_until(lambda: the_instance(site).state == "crashed" and "restarts" in the_instance(site).detail)
    assert "exited with code 3" in the_instance(site).detail
    deploy(site, work)  # its shim sees to it already
    assert the_group(site).index == 0
    stop(site)
    assert DRIVER.observe(site, "production") == {}


def test_a_service_that_ran_steadily_is_started_again_at_once(
    site: Site, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "BACKOFF_S", 0.01)
    monkeypatch.setattr(instance, "STEADY_S", 0.0)
    port = free_port()
    deploy(site, work_for(build_archive(archives, "1.4.0"), "1.4.0", port=port))
    pids: list[int | None] = [None]
    for _ in range(3):
        wait_until(lambda: answers(port))
        pids.append(the_instance(site).pid)
        os.kill(pids[-1] or 0, signal.SIGKILL)
        wait_until(lambda: the_instance(site).pid not in pids)
    killed = [line for line in DRIVER.logs(site, "production", "api", lines=100) if "[ugs]" in line]
    assert killed == ["[ugs] ended by SIGKILL; starts again in 0.01 s"] * 3
    assert the_instance(site).detail == "ended by SIGKILL (restarts: 3)"
    stop(site)


def test_a_killed_shim_leaves_its_service_running_alone(site: Site, archives: Path) -> None:
    port = free_port()
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=port)
    deploy(site, work)
    wait_until(lambda: answers(port))
    before, shim = the_instance(site), the_shim(site)
    os.kill(shim, signal.SIGKILL)
    wait_until(lambda: gone(shim))
    orphan = the_instance(site)
    assert (orphan.pid, orphan.state) == (before.pid, "running")
    assert "without its shim" in orphan.detail
    deploy(site, work)
    assert the_instance(site).pid == before.pid

    new = work_for(build_archive(archives, "1.5.0"), "1.5.0", port=port)
    deploy(site, new)
    wait_until(lambda: answers(port))
    assert get_json(port, "/version") == {"version": "1.5.0"}
    assert before.pid is not None
    assert gone(before.pid)


def test_what_a_dead_instance_left_behind_is_swept_before_it_starts_again(
    site: Site, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.drivers.process.group.STOP_MARGIN_S", 0.1)
    port = free_port()
    work = work_for(build_archive(archives, "1.4.0", mode="stubborn"), "1.4.0", port=port, grace_s=0.1)
    deploy(site, work)
    wait_until(lambda: answers(port))
    wait_until(lambda: len(the_group(site).members) == 3)
    main = the_instance(site).pid
    assert main is not None
    os.kill(the_shim(site), signal.SIGKILL)
    os.kill(main, signal.SIGKILL)
    wait_until(lambda: gone(main))
    assert DRIVER.observe(site, "production") == {}
    left = the_group(site)
    deploy(site, work)
    wait_until(lambda: answers(port))
    assert gone(left.members[0].pid)


def test_an_orphan_that_is_seen_only_under_the_lock_stays_alone(
    site: Site, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port())
    deploy(site, work)
    shim, orphan = the_shim(site), the_instance(site).pid
    os.kill(shim, signal.SIGKILL)
    wait_until(lambda: gone(shim))
    seen, stale = process._lacking, iter([[0]])
    monkeypatch.setattr(process, "_lacking", lambda *about: next(stale, None) or seen(*about))
    DRIVER.apply(site, Cause("op"), work, work.instances)
    assert [member.pid for member in the_group(site).members] == [orphan]


KILLED_APPLY = """
import os, signal, sys
from pathlib import Path
import reconciler.drivers.process.instance, reconciler.drivers.process as process
from reconciler.drivers.base import Cause, Site
from reconciler.model.codec import decode
from reconciler.model.target import Workload
module, name = sys.argv[1].split(":")
setattr(sys.modules[module], name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
site = Site(Path(sys.argv[2]), lambda *_: "", lambda *_: b"", ("file:///",))
work = decode(sys.stdin.buffer.read(), Workload)
process.apply(site, Cause("killed"), work, work.instances)
"""


@pytest.mark.fault("CR-03")
@pytest.mark.parametrize(
    "instant",
    [
        "reconciler.drivers.process:stop",  # before anything
        "reconciler.drivers.process:launch",  # the old one stopped, the lock taken
        "reconciler.drivers.process.instance:_ask_shim",  # the shim runs and waits for its order
        "reconciler.drivers.process.instance:_answer",  # the shim has its order
    ],
)
@pytest.mark.parametrize("passing", [False, True], ids=["own-port", "socket-passed"])
def test_apply_killed_at_any_instant_and_repeated_ends_in_one_new_instance(
    site: Site, archives: Path, instant: str, passing: bool
) -> None:
    port = free_port()
    mode: Mode = "sockets" if passing else "ok"
    old, new = (
        work_for(build_archive(archives, v, mode=mode), v, port=port, passing=passing)
        for v in ("1.4.0", "1.5.0")
    )
    deploy(site, old)
    DRIVER.prepare(site, new, "HEAD")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_APPLY, instant, str(site.state)], input=encode(new), check=False
    )
    assert killed.returncode == -signal.SIGKILL
    DRIVER.apply(site, Cause("again"), new, new.instances)
    wait_until(lambda: answers(port))
    assert get_json(port, "/version") == {"version": "1.5.0"}
    assert DRIVER.observe(site, "production")["api"].running == new.target
    wait_until(lambda: len(groups(site, "production", "api")["api"]) == 1)
    wait_until(lambda: len(the_group(site).members) == 2)


def test_two_applies_at_once_start_one_instance(site: Site, archives: Path) -> None:
    port = free_port()
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=port)
    DRIVER.prepare(site, work, "HEAD")
    threads = [threading.Thread(target=DRIVER.apply, args=(site, Cause(f"op{n}"), work, 1)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    wait_until(lambda: len(the_group(site).members) == 2)
