"""The command driver's harness: the program is the worked example of docs/drivers/command.md, as it stands there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.drivers.services import SERVICE, answered, gone, wait_until
from tests.engines.harness import Lack, Mode
from tests.engines.process import BUILT
from tests.fleet_repository import FleetRepository

LACKS: frozenset[Lack] = frozenset()
PAGE = Path(__file__).parents[2] / "docs/drivers/command.md"
MARK = "PLAIN_LABELS"


def example() -> str:
    """The program that the page shows."""
    found = re.search(r"^```python\n(#!.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, "the page shows no program"
    return found[1]


class Plain:
    kind = "command"

    def __init__(self, folder: Path) -> None:
        self.program = folder / "ugs-plain"
        self.program.write_text(example())
        self.program.chmod(0o755)
        self._fleet: FleetRepository
        self._started: list[subprocess.Popen[bytes]] = []

    def begin(self, fleet: FleetRepository) -> None:
        self._fleet = fleet
        self._root.mkdir()

    def end(self) -> None:
        self.engine_up()
        for stranger in self._started:
            stranger.kill()
            stranger.wait()
        self._started.clear()
        for pid in self._ours():
            os.killpg(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: gone(pid))  # type: ignore[misc]  # bound now

    def close(self) -> None: ...

    def driver_yaml(self) -> str:
        return "{kind: command, program: plain}"

    def daemon_yaml(self) -> str:
        argv = json.dumps([sys.executable, "-IS", str(self.program), str(self._root)])
        return f"drivers: [command]\nengines: {{command: {{programs: {{plain: {{argv: {argv}}}}}}}}}\n"

    def release(self, fleet: FleetRepository, version: str, mode: Mode, service: str) -> None:
        nowhere = "archives/nowhere.tar.gz" if mode == "absent" else None
        fleet.release(version, BUILT[mode], service=service, soak="500ms", deadline="20s", url=nowhere)

    def answers(self, service: str) -> str:
        return answered(self._fleet.port(service))

    def instances(self, service: str) -> list[str]:
        versions = [one["version"] for one in self._labels(service).values()]
        return versions + ["stranger"] * len(self._strangers(service))

    def labels(self, service: str) -> list[Mapping[str, str]]:
        return list(self._labels(service).values())

    def crash_one(self, service: str) -> None:
        os.kill(next(iter(self._labels(service))), signal.SIGKILL)

    def drift(self, service: str) -> None:
        os.kill(next(iter(self._labels(service))), signal.SIGSTOP)

    def stranger(self, service: str) -> None:
        script = SERVICE.format(python=sys.executable, mode="ok", version="0.0.1")
        argv = [sys.executable, "-ISc", script, str(self._fleet.port(service))]
        started = subprocess.Popen(argv, stdout=subprocess.DEVNULL, start_new_session=True)
        self._started.append(started)
        (self._root / f"{service}.pid").write_text(str(started.pid))
        wait_until(lambda: self.answers(service) == "0.0.1")

    def engine_down(self) -> None:
        """The program is not there."""
        self.program.rename(self.program.with_suffix(".away"))

    def engine_up(self) -> None:
        away = self.program.with_suffix(".away")
        if away.exists():
            away.rename(self.program)

    @property
    def _root(self) -> Path:
        return self._fleet.folder / "plain"

    def _ours(self) -> dict[int, dict[str, str]]:
        """The labels of every process of the fleet, without their prefix, by pid."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
                session = (folder / "stat").read_text().rpartition(")")[2].split()[3]
            except OSError:  # it has just ended
                continue
            mark = next((one for one in variables if one.startswith(f"{MARK}=".encode())), None)
            if mark and session == folder.name:
                labels = json.loads(mark.partition(b"=")[2])
                found[int(folder.name)] = {key.removeprefix("ugs."): value for key, value in labels.items()}
        return found

    def _labels(self, service: str) -> dict[int, dict[str, str]]:
        ours = self._ours().items()
        return {pid: labels for pid, labels in ours if labels["service"] == service and not gone(pid)}

    def _strangers(self, service: str) -> list[int]:
        pids = [int(path.read_text()) for path in self._root.glob(f"{service}.pid")]
        return [pid for pid in pids if not gone(pid)]


def start(folder: Path) -> Plain:
    return Plain(folder)
