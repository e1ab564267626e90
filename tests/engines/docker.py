"""The docker driver's harness: a dockerd and a registry that wants a password, both of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.drivers.labels import PREFIX
from tests.drivers.services import free_port
from tests.engines.dockerd import PORT, Dockerd, Registry
from tests.engines.harness import Lack, Mode
from tests.fleet_repository import FleetRepository

LACKS: frozenset[Lack] = frozenset()
NOWHERE = "sha256:" + "0" * 64
MANIFEST = """\
service: {service}
version: "{version}"
artifact: {{image: "{image}"}}
run: {{port: {port}, stop_grace: 2s{run}}}
{more}health:
  soak: 500ms
  deadline: 30s
  probes:
    - {{http: "http://{{host}}:{{port}}/healthz", interval: 100ms, failures: 2}}
    - {{http: "http://{{host}}:{{port}}/version", expect: {{json: {{version: "{{version}}"}}}}, interval: 100ms}}
"""


class Containers:
    """What the harnesses over one dockerd have in common."""

    kind = "docker"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Containers outlive the engine, so that it may be down alone.
        self.engine = Dockerd(folder / "engine", settings={"live-restore": True})
        self.registry = Registry(folder / "registry", free_port(), user="ugs", password="of the tests")
        self._images: dict[tuple[str, str], str] = {}
        self.engine.start()
        self.registry.start()
        (folder / "password").write_text("of the tests\n")

    def begin(self, fleet: FleetRepository) -> None: ...

    def end(self) -> None:
        with contextlib.closing(self.engine.api) as api:
            for one in api.containers(all=True):
                api.remove_container(one["Id"], force=True, v=True)
            api.prune_networks()

    def close(self) -> None:
        self.registry.stop()
        self.engine.stop()

    def driver_yaml(self) -> str:
        return f"{{kind: {self.kind}}}"

    def daemon_yaml(self) -> str:
        login = f'{{username: ugs, password: {{file: "{self.folder / "password"}"}}}}'
        return (
            f"drivers: [{self.kind}]\n"
            f"engines: {{{self.kind}: {self.engine_yaml()}}}\n"
            f'registries: {{"{self.registry.name}": {login}}}\n'
        )

    def engine_yaml(self) -> str:
        return f'{{socket: "{self.engine.socket}"}}'

    def image(self, version: str, mode: Mode) -> str:
        """The reference of an image that the registry has, and the engine has not."""
        key = (version, mode)
        if key not in self._images:
            built = "ok" if mode == "absent" else mode
            tag = f"built:{version}-{mode}"
            self.engine.image(tag, version, built)
            self._images[key] = self.registry.push(self.engine, tag, "service")
            with contextlib.closing(self.engine.api) as api:
                for name in (tag, f"{self.registry.name}/service:pushed"):
                    api.remove_image(name, force=True)
        return self._images[key]

    def release(
        self,
        fleet: FleetRepository,
        version: str,
        mode: Mode,
        service: str,
        *,
        run: str = "",
        more: str = "",
        image: str = "",
    ) -> None:
        image = image or self.image(version, mode)
        if mode == "absent":
            image = f"{image.partition('@')[0]}@{NOWHERE}"
        fleet.files[f"releases/{service}/{version}.yaml"] = MANIFEST.format(
            service=service, version=version, image=image, port=PORT, run=run, more=more
        )

    def found(self, service: str) -> list[dict[str, Any]]:
        """The service's containers that run, as the engine lists them."""
        with contextlib.closing(self.engine.api) as api:
            return [one for one in api.containers() if self._is_of(one, service)]

    def answers(self, service: str) -> str:
        for one in self.found(service):
            networks = one["NetworkSettings"]["Networks"].values()
            if version := answered(next(iter(networks))["IPAddress"]):
                return version
        return ""

    def instances(self, service: str) -> list[str]:
        return sorted(one["Labels"].get(f"{PREFIX}version", "stranger") for one in self.found(service))

    def labels(self, service: str) -> list[Mapping[str, str]]:
        return [
            {name.removeprefix(PREFIX): value for name, value in one["Labels"].items()}
            for one in self.found(service)
        ]

    def crash_one(self, service: str) -> None:
        with contextlib.closing(self.engine.api) as api:
            made = api.exec_create(self.found(service)[0]["Id"], ["kill", "-TERM", "1"])
            api.exec_start(made["Id"])

    def drift(self, service: str) -> None:
        with contextlib.closing(self.engine.api) as api:
            api.pause(self.found(service)[0]["Id"])

    def stranger(self, service: str) -> None:
        tag = "built:stranger"
        self.engine.image(tag, "0.0.0")
        with contextlib.closing(self.engine.api) as api:
            api.start(api.create_container(tag, name=f"production-{service}")["Id"])

    def engine_down(self) -> None:
        self.engine.halt()

    def engine_up(self) -> None:
        self.engine.start()

    def _is_of(self, one: dict[str, Any], service: str) -> bool:
        mine: bool = one["Labels"].get(f"{PREFIX}service") == service
        return mine or one["Names"][0] in (f"/production-{service}", f"/production-{service}-1")


def answered(address: str, port: int = PORT) -> str:
    """The version that answers at an address; empty when none does."""
    client = http.client.HTTPConnection(address, port, timeout=5.0)
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError), contextlib.closing(client):
        client.request("GET", "/version")
        return str(json.loads(client.getresponse().read())["version"])
    return ""


def start(folder: Path) -> Containers:
    return Containers(folder)
