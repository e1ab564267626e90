"""How instances end: politely, then firmly, and all of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from reconciler.drivers.base import Site
from reconciler.model.errors import HostError
from tests.drivers.services import (
    DRIVER,
    answers,
    build_archive,
    deploy,
    free_port,
    gone,
    stop,
    the_group,
    the_shim,
    wait_until,
    work_for,
)


def test_stop_is_polite_first(site: Site, archives: Path) -> None:
    port = free_port()
    deploy(site, work_for(build_archive(archives, "1.4.0"), "1.4.0", port=port))
    wait_until(lambda: answers(port))
    stop(site)
    assert DRIVER.observe(site, "production") == {}
    assert DRIVER.logs(site, "production", "api", lines=1) == ["stops politely"]


@pytest.mark.parametrize("shim_killed", [False, True])
def test_a_stubborn_service_and_its_runaway_grandchild_are_killed(
    site: Site, archives: Path, shim_killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.drivers.process.group.STOP_MARGIN_S", 0.3)
    port = free_port()
    deploy(site, work_for(build_archive(archives, "1.4.0", mode="stubborn"), "1.4.0", port=port, grace_s=0.2))
    wait_until(lambda: answers(port))
    wait_until(lambda: len(the_group(site).members) == 3)
    members = the_group(site).members
    if shim_killed:
        os.kill(the_shim(site), signal.SIGKILL)
    stop(site)
    assert all(gone(member.pid) for member in members)


def test_a_process_that_does_not_even_die_is_reported(
    site: Site, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(site, work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port(), grace_s=0.05))
    monkeypatch.setattr("reconciler.drivers.process.group.STOP_MARGIN_S", 0.05)
    monkeypatch.setattr("reconciler.drivers.process.group.KILL_TIMEOUT_S", 0.05)
    monkeypatch.setattr(
        "reconciler.drivers.process.group._send", lambda *_: None
    )  # as when it hangs in the kernel
    with pytest.raises(HostError, match="do not end"):
        stop(site)


def test_a_process_that_may_not_be_signalled_is_reported(
    site: Site, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    deploy(site, work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port()))
    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", refuse)
        with pytest.raises(HostError, match="may not be stopped"):
            stop(site)
