"""The daemon's own unit, `systemd/ugs.service`, under a real systemd: ready, watched, and at work in its sandbox."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_process import PROJECT
from tests.drivers.services import answered, wait_until
from tests.engines.booted import Booted
from tests.fleet_repository import FleetRepository

ENGINE = "systemd"
pytestmark = pytest.mark.engine
PATIENCE_S = 240.0
CONFIG = "/etc/ugs/ugs.yaml"
LOCAL = """\
[Service]
# The remote is at a local path, and is pushed into.
ReadWritePaths=/srv/fleet
"""
UGS = """\
#!/bin/sh
export PYTHONPATH=/opt/ugs:/opt/venv/{site} PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH=/opt/python/lib
exec /opt/python/bin/{python} -m reconciler.cli "$@"
"""


class Installed:
    """UGS installed as the pages say, on a machine that has booted."""

    def __init__(self, booted: Booted, fleet: FleetRepository) -> None:
        self.booted, self.fleet = booted, fleet
        self._owner = "root"

    def start(self, driver: str) -> None:
        root, unit = self.booted.root, self.booted.units / "ugs.service"
        (root / "etc/ugs").mkdir()
        (root / "etc/ugs").chmod(0o755)
        (root / "etc/ugs/ugs.yaml").write_text(
            f"repository: {{url: /srv/fleet/fleet.git, poll: 1s}}\nstate: /var/lib/ugs\ndrivers: [{driver}]\n"
        )
        (root / "etc/ugs/ugs.yaml").chmod(0o644)
        shutil.copy(PROJECT / "systemd/ugs.service", unit)
        (self.booted.units / "ugs.service.d").mkdir(exist_ok=True)
        (self.booted.units / "ugs.service.d/local.conf").write_text(LOCAL)
        self.booted.run(
            "useradd", "--system", "--home-dir", "/var/lib/ugs", "--shell", "/usr/sbin/nologin", "ugs"
        )
        self._owner = "ugs" if driver == "process" else "root"
        self._give(self._owner)
        self.booted.run("systemctl", "daemon-reload")
        self.booted.run("systemctl", "enable", "ugs")
        self.told(lambda: self.booted.run("systemctl", "start", "ugs"))

    def set(self, text: str) -> None:
        """Another drop-in, from now on."""
        (self.booted.units / "ugs.service.d/test.conf").write_text(text)
        self.booted.run("systemctl", "daemon-reload")
        self.booted.run("systemctl", "restart", "ugs")

    def merge(self, version: str, **how: Any) -> None:
        """A release, its pin and the commit, pushed by Ada; git obeys the owner of a repository alone."""
        self.fleet.release(version, **{"soak": "500ms", "deadline": "30s", **how})
        self.fleet.pin(version)
        self._give("root")
        self.fleet.merge()
        self._give(self._owner)

    def show(self, name: str) -> str:
        (unit,) = self.booted.show("ugs.service", name)
        return unit[name]

    def _give(self, owner: str) -> None:
        self.booted.run("chown", "-R", f"{owner}:", "/srv/fleet/fleet.git")

    def until(self, condition: Callable[[], object]) -> None:
        self.told(lambda: wait_until(condition, timeout_s=PATIENCE_S))

    def told(self, act: Callable[[], object]) -> None:
        """Where it fails, with the daemon's own lines."""
        try:
            act()
        except AssertionError as error:
            lines = self.booted.run("journalctl", "-u", "ugs", "-n", "60", "--no-pager")
            raise AssertionError(lines) from error

    def until_answers(self, version: str) -> None:
        self.until(lambda: answered(self.fleet.port("api")) == version)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    folder = tmp_path / "fleet"
    folder.mkdir()
    folder.chmod(0o755)
    base, venv = Path(sys.base_prefix), Path(sys.prefix)
    booted = Booted({"/opt/ugs": PROJECT, "/opt/python": base, "/opt/venv": venv, "/srv/fleet": folder})
    booted.start()
    try:
        site = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        ugs = booted.root / "usr/local/bin/ugs"
        ugs.write_text(UGS.format(site=shlex.quote(site), python=Path(sys.executable).resolve().name))
        ugs.chmod(0o755)
        yield Installed(booted, FleetRepository(folder))
    finally:
        booted.stop()


def test_the_unit_runs_a_daemon_that_is_ready_watched_and_started_again(installed: Installed) -> None:
    installed.merge("1.0.0")
    installed.start("process")
    assert installed.show("ActiveState") == "active"
    assert installed.show("User") == "ugs"
    installed.until_answers("1.0.0")

    main = installed.show("MainPID")
    installed.booted.run("kill", "-KILL", main)
    installed.until(lambda: installed.show("NRestarts") == "1" and installed.show("ActiveState") == "active")
    assert answered(installed.fleet.port("api")) == "1.0.0"  # it has outlived the daemon

    installed.set("[Service]\nWatchdogSec=3s\n")
    main = installed.show("MainPID")
    installed.booted.run("kill", "-STOP", main)
    installed.until(
        lambda: installed.show("MainPID") not in ("0", main) and installed.show("ActiveState") == "active"
    )
    assert "Watchdog timeout" in installed.booted.run("journalctl", "-u", "ugs", "--no-pager")

    installed.merge("1.1.0")
    installed.until_answers("1.1.0")
    said = installed.booted.run("runuser", "-u", "ugs", "--", "ugs", "status", "--config", CONFIG)
    assert "1.1.0" in said


def test_with_its_drop_in_the_daemon_makes_units_from_within_its_sandbox(installed: Installed) -> None:
    installed.fleet.driver_yaml = "{kind: systemd}"
    installed.merge("1.0.0")
    (installed.booted.units / "ugs.service.d").mkdir()
    shutil.copy(PROJECT / "systemd/systemd-driver.conf", installed.booted.units / "ugs.service.d")
    installed.start("systemd")
    installed.until_answers("1.0.0")
    (unit,) = installed.booted.show("ugs-production.api@0.service", "ActiveState", "DynamicUser")
    assert unit == {"ActiveState": "active", "DynamicUser": "yes"}

    installed.merge("1.1.0", mode="unhealthy", deadline="10s")
    installed.until(installed.fleet.reverts)
    installed.until_answers("1.0.0")
    installed.booted.run("systemctl", "stop", "ugs")
    assert answered(installed.fleet.port("api")) == "1.0.0"
