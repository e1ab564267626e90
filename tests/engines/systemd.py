"""The systemd driver's harness: a systemd booted in a container, reached over its bus from outside."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from reconciler.drivers.mark import Mark
from tests.drivers.services import answered
from tests.engines.booted import Booted
from tests.engines.harness import Lack, Mode
from tests.engines.process import BUILT, as_labels
from tests.fleet_repository import FleetRepository

LACKS: frozenset[Lack] = frozenset()
GONE = ("inactive", "failed")
STRANGER = """\
[Unit]
Description=Somebody's own
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""


class Systemd:
    kind = "systemd"

    def __init__(self, folder: Path) -> None:
        # The daemons' state folders are seen inside at the same paths: systemd runs the releases from there.
        self.booted = Booted({str(folder.parent): folder.parent})
        self.booted.start()
        self._fleet: FleetRepository

    @property
    def options(self) -> dict[str, str]:
        """`engines.systemd`: how the daemon reaches it from outside."""
        return {
            "bus": self.booted.bus,
            "units": str(self.booted.units),
            "journal": str(self.booted.journal),
        }

    def begin(self, fleet: FleetRepository) -> None:
        self._fleet = fleet

    def end(self) -> None:
        self.engine_up()
        self.booted.run("systemctl", "stop", "ugs-*")
        for path in (*self.booted.units.glob("ugs-*"), *self.booted.units.glob("*.wants/ugs-*")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.booted.run("systemctl", "daemon-reload")
        self.booted.run("systemctl", "reset-failed")

    def close(self) -> None:
        self.booted.stop()

    def driver_yaml(self) -> str:
        return "{kind: systemd}"

    def daemon_yaml(self) -> str:
        return f"drivers: [systemd]\nengines: {{systemd: {json.dumps(self.options)}}}\n"

    def release(self, fleet: FleetRepository, version: str, mode: Mode, service: str) -> None:
        nowhere = "archives/nowhere.tar.gz" if mode == "absent" else None
        fleet.release(version, BUILT[mode], service=service, soak="500ms", deadline="20s", url=nowhere)

    def answers(self, service: str) -> str:
        return answered(self._fleet.port(service))

    def instances(self, service: str) -> list[str]:
        said = [labels.get("version", "stranger") for labels in self.labels(service)]
        return sorted(said)

    def labels(self, service: str) -> list[Mapping[str, str]]:
        units = self.booted.show(_units(service), "Id", "ActiveState", "SubState", "Environment")
        return [
            _labels(unit["Environment"])
            for unit in units
            if unit["ActiveState"] not in GONE and unit["SubState"] != "auto-restart"
        ]

    def crash_one(self, service: str) -> None:
        self.booted.run(
            "systemctl", "kill", "--kill-who=main", "--signal=KILL", f"ugs-production.{service}@0.service"
        )

    def drift(self, service: str) -> None:
        """What `systemctl edit` leaves."""
        folder = self.booted.units / f"ugs-production.{service}@0.service.d"
        (folder / "override.conf").write_text("[Service]\nEnvironment=LOG_LEVEL=debug\n")
        self.booted.run("systemctl", "daemon-reload")

    def stranger(self, service: str) -> None:
        name = f"ugs-production.{service}@0.service"
        (self.booted.units / name).write_text(STRANGER)
        self.booted.run("systemctl", "daemon-reload")
        self.booted.run("systemctl", "enable", "--now", name)

    def engine_down(self) -> None:
        """Its bus is: what runs, runs on."""
        self.booted.run("systemctl", "stop", "dbus.socket", "dbus.service")

    def engine_up(self) -> None:
        self.booted.run("systemctl", "start", "dbus.socket", "dbus.service")


def _units(service: str) -> str:
    return f"ugs-production.{service}@*.service"


def _labels(environment: str) -> Mapping[str, str]:
    """What a unit's own variables say of it; nothing for one that is not ours."""
    variables = dict(word.split("=", 1) for word in shlex.split(environment))
    mark = Mark.parse(variables.get("UGS_INSTANCE", ""))
    return as_labels(mark) if mark else {}


def start(folder: Path) -> Systemd:
    return Systemd(folder)
