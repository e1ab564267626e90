"""The process driver's harness. Its engine is this machine itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from reconciler.drivers.machine.procfs import Process, processes
from reconciler.drivers.mark import Mark, site_id
from tests.drivers.services import Mode as Built
from tests.drivers.services import answered, kill_all
from tests.engines.harness import Lack, Mode
from tests.fleet_repository import FleetRepository

LACKS: frozenset[Lack] = frozenset({"engine", "drift", "adoption"})
"""It is never down while the daemon runs; nobody edits a process; and one without our mark is nobody's service."""
BUILT: Mapping[Mode, Built] = {
    "ok": "ok",
    "unhealthy": "unhealthy",
    "crash": "crash",
    "absent": "ok",
    "slow": "slow",
}


class Processes:
    kind = "process"

    def __init__(self) -> None:
        self._fleet: FleetRepository

    def begin(self, fleet: FleetRepository) -> None:
        self._fleet = fleet

    def end(self) -> None:
        kill_all(self._state)

    def close(self) -> None: ...

    def driver_yaml(self) -> str:
        return "{kind: process}"

    def daemon_yaml(self) -> str:
        return ""

    def release(self, fleet: FleetRepository, version: str, mode: Mode, service: str) -> None:
        nowhere = "archives/nowhere.tar.gz" if mode == "absent" else None
        fleet.release(version, BUILT[mode], service=service, soak="500ms", deadline="20s", url=nowhere)

    def answers(self, service: str) -> str:
        return answered(self._fleet.port(service))

    def instances(self, service: str) -> list[str]:
        return [str(one.mark.target.version) for one in self._mains(service)]

    def labels(self, service: str) -> list[Mapping[str, str]]:
        return [as_labels(one.mark) for one in self._mains(service)]

    def crash_one(self, service: str) -> None:
        os.kill(self._mains(service)[0].pid, signal.SIGKILL)

    def drift(self, service: str) -> None:
        raise NotImplementedError

    def stranger(self, service: str) -> None:
        raise NotImplementedError

    def engine_down(self) -> None:
        raise NotImplementedError

    def engine_up(self) -> None:
        raise NotImplementedError

    @property
    def _state(self) -> Path:
        return self._fleet.folder / "state"

    def _mains(self, service: str) -> list[Process]:
        found = processes(site_id(self._state), ["production"], service)
        return [one for one in found if one.leads_session and not one.is_shim]


def as_labels(mark: Mark) -> Mapping[str, str]:
    return {
        "environment": mark.environment,
        "service": mark.service,
        "version": str(mark.target.version),
        "target": mark.target.digest,
        "operation": mark.operation,
        "index": str(mark.index),
        "site": mark.site,
    }


def start(_folder: Path) -> Processes:
    return Processes()
