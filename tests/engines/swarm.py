"""The swarm driver's harness: three managers, and a registry that wants a password."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker

from reconciler.drivers.labels import PREFIX
from tests.drivers.services import free_port
from tests.engines.cluster import NODES, Cluster
from tests.engines.docker import MANIFEST, NOWHERE, answered
from tests.engines.dockerd import PORT, Registry, until
from tests.engines.harness import Lack, Mode
from tests.fleet_repository import FleetRepository

LACKS: frozenset[Lack] = frozenset()
NAMES = ("api", "web")
"""Each has a port of its own: all are open on the same nodes."""
RUN = ', environment: {{PORT: "{{port}}"{variables}}}, container: {{publish: host}}'


class Swarm:
    kind = "swarm"

    def __init__(self, folder: Path) -> None:
        self.folder, self.cluster = folder, Cluster(folder)
        address = Cluster.ADDRESS
        self.registry = Registry(
            folder / "registry", free_port(), user="ugs", password="of the tests", address=address
        )
        self._images: dict[tuple[str, str], str] = {}
        (folder / "password").write_text("of the tests\n")
        self.cluster.start()
        self.registry.start()

    @property
    def api(self) -> docker.APIClient:
        """Of the manager that the daemon asks."""
        return self.cluster.nodes[1].api

    def begin(self, fleet: FleetRepository) -> None: ...

    def end(self) -> None:
        for node in self.cluster.nodes:
            self.cluster.join(node)
        self.cluster.until_whole()
        until(self._cleared, "nothing is left of it")

    def _cleared(self) -> bool:
        """Remove what is there; whether nothing is left. False also where managers that have come back have yet to
        agree on who leads."""
        with contextlib.suppress(docker.errors.APIError, OSError), contextlib.closing(self.api) as api:
            for service in api.services():
                api.remove_service(service["ID"])
            if api.tasks():
                return False
            for one in api.secrets():
                api.remove_secret(one["ID"])
            for one in api.configs():
                api.remove_config(one["ID"])
            return True
        return False

    def close(self) -> None:
        self.registry.stop()
        self.cluster.stop()

    def driver_yaml(self) -> str:
        return "{kind: swarm}"

    def daemon_yaml(self) -> str:
        login = f'{{username: ugs, password: {{file: "{self.folder / "password"}"}}}}'
        return (
            "drivers: [swarm]\n"
            f'engines: {{swarm: {{host: "{self.cluster.nodes[1].host}", networks: [backend]}}}}\n'
            f'registries: {{"{self.registry.name}": {login}}}\n'
        )

    def image(self, version: str, mode: Mode) -> str:
        """The reference of an image that the registry has."""
        key = (version, mode)
        if key not in self._images:
            engine, tag = self.cluster.nodes[1], f"built:{version}-{mode}"
            engine.image(tag, version, "ok" if mode == "absent" else mode)
            self._images[key] = self.registry.push(engine, tag, "service")
        return self._images[key]

    def release(
        self,
        fleet: FleetRepository,
        version: str,
        mode: Mode,
        service: str,
        *,
        variables: str = "",
        more: str = "",
    ) -> None:
        image = self.image(version, mode)
        if mode == "absent":
            image = f"{image.partition('@')[0]}@{NOWHERE}"
        fleet.files[f"releases/{service}/{version}.yaml"] = MANIFEST.format(
            service=service,
            version=version,
            image=image,
            port=self.port(service),
            run=RUN.format(variables=variables),
            more=more,
        )

    @staticmethod
    def port(service: str) -> int:
        return PORT + NAMES.index(service)

    def answers(self, service: str) -> str:
        found = (answered(Cluster.address(node), self.port(service)) for node in range(1, NODES + 1))
        return next(filter(None, found), "")

    def found(self, service: str) -> Any:
        """The service as a manager shows it; None where there is none."""
        with contextlib.closing(self.api) as api:
            named = api.services(filters={"name": f"production_{service}"})
        return named[0] if named else None

    def tasks(self, service: str) -> list[dict[str, Any]]:
        """Its tasks that run, and are to run."""
        with contextlib.closing(self.api) as api, contextlib.suppress(docker.errors.NotFound):
            filters = {"service": f"production_{service}", "desired-state": "running"}
            return [one for one in api.tasks(filters=filters) if one["Status"]["State"] == "running"]
        return []

    def instances(self, service: str) -> list[str]:
        said = (one["Spec"]["ContainerSpec"].get("Labels") or {} for one in self.tasks(service))
        return sorted(labels.get(f"{PREFIX}version", "stranger") for labels in said)

    def labels(self, service: str) -> list[Mapping[str, str]]:
        found = self.found(service)
        said = [found["Spec"]["Labels"], found["Spec"]["TaskTemplate"]["ContainerSpec"]["Labels"]]
        assert set(said[1].items()) <= set(said[0].items())
        return [{name.removeprefix(PREFIX): value for name, value in said[0].items()}]

    def node_of(self, task: dict[str, Any]) -> int:
        """The number of the node that a task is on."""
        with contextlib.closing(self.api) as api:
            name = str(api.inspect_node(task["NodeID"])["Description"]["Hostname"])
        return int(name.removeprefix("sw"))

    def execute(self, task: dict[str, Any], *words: str) -> str:
        """What a command prints beside an instance."""
        with contextlib.closing(self.cluster.nodes[self.node_of(task)].api) as api:
            made = api.exec_create(task["Status"]["ContainerStatus"]["ContainerID"], list(words))
            return str(api.exec_start(made["Id"]).decode())

    def crash_one(self, service: str) -> None:
        self.execute(self.tasks(service)[0], "kill", "-TERM", "1")

    def drift(self, service: str) -> None:
        """As `docker service scale` does."""
        self.change(service, lambda spec: spec["Mode"]["Replicated"].update(Replicas=1))

    def change(self, service: str, how: Any) -> None:
        """As `docker service update` does."""
        found = self.found(service)
        spec = found["Spec"]
        how(spec)
        with contextlib.closing(self.api) as api:
            api.update_service(
                found["ID"],
                found["Version"]["Index"],
                task_template=spec["TaskTemplate"],
                name=spec["Name"],
                labels=spec["Labels"],
                mode=spec["Mode"],
                update_config=spec["UpdateConfig"],
                endpoint_spec=spec["EndpointSpec"],
            )

    def stranger(self, service: str) -> None:
        image = self.image("0.0.0", "ok")
        with contextlib.closing(self.api) as api:
            api.create_service({"ContainerSpec": {"Image": image}}, name=f"production_{service}")

    def engine_down(self) -> None:
        self.cluster.nodes[1].halt()

    def engine_up(self) -> None:
        self.cluster.join(1)


def start(folder: Path) -> Swarm:
    return Swarm(folder)
