"""The Kubernetes driver's harness: a real API server, its controllers, and a node that runs pods."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.drivers.kubernetes.api import MERGE
from reconciler.model.errors import UgsError
from tests.drivers.services import free_port
from tests.engines.dockerd import PORT, Registry, until
from tests.engines.dockerd import Mode as Built
from tests.engines.harness import Lack, Mode
from tests.engines.kubernetes.cluster import Cluster
from tests.fleet_repository import FleetRepository

LACKS: frozenset[Lack] = frozenset()
NOWHERE = "sha256:" + "0" * 64
BUILT: Mapping[Mode, Built] = {"ok": "ok", "unhealthy": "unhealthy", "crash": "crash", "slow": "slow"}
RELEASE = """\
service: {service}
version: "{version}"
artifact: {{image: "{image}"}}
run: {{port: {port}, stop_grace: 2s}}
health:
  soak: 500ms
  deadline: 2m
  probes:
    - {{http: "http://{{host}}:{{port}}/healthz", interval: 500ms, timeout: 900ms, failures: 16}}
"""


class Kubernetes:
    kind = "kubernetes"

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster(folder / "cluster")
        self.registry = Registry(folder / "registry", free_port())
        self._images: dict[tuple[str, Mode], str] = {}
        self._counter = itertools.count(1)
        self.namespace = ""

    def start(self) -> None:
        self.registry.start()
        self.cluster.start()

    def begin(self, _fleet: FleetRepository | None = None) -> None:
        self.namespace = f"shop-{next(self._counter)}"
        made = {"metadata": {"name": self.namespace}}
        self.cluster.send("POST", "/api/v1/namespaces", made)
        # Pods are refused until the controllers have made the namespace's own account.
        until(lambda: self._there(f"{self._path('v1')}/serviceaccounts/default"), "the namespace is ready")

    def end(self) -> None:
        self.engine_up()
        self.cluster.send("DELETE", f"/api/v1/namespaces/{self.namespace}")

    def close(self) -> None:
        self.cluster.stop()
        self.registry.stop()

    def driver_yaml(self) -> str:
        return f"{{kind: kubernetes, namespace: {self.namespace}}}"

    def daemon_yaml(self) -> str:
        return (
            "drivers: [kubernetes]\n"
            f'engines: {{kubernetes: {{kubeconfig: "{self.cluster.kubeconfig}", namespaces: ["shop-*"]}}}}\n'
        )

    def release(self, fleet: FleetRepository, version: str, mode: Mode, service: str) -> None:
        image = f"{self.registry.name}/absent@{NOWHERE}" if mode == "absent" else self.image(version, mode)
        fleet.files[f"releases/{service}/{version}.yaml"] = RELEASE.format(
            service=service, version=version, image=image, port=PORT
        )

    def image(self, version: str, mode: Mode = "ok") -> str:
        """The reference of an image in the registry that does so."""
        if (version, mode) not in self._images:
            tag = f"built:{version}-{mode}"
            self.cluster.docker.image(tag, version, BUILT[mode])
            self._images[version, mode] = self.registry.push(self.cluster.docker, tag, "service")
        return self._images[version, mode]

    def answers(self, service: str) -> str:
        for pod in self.pods(service):
            address = pod["status"].get("podIP")
            client = http.client.HTTPConnection(address or "255.255.255.255", PORT, timeout=2.0)
            with contextlib.suppress(OSError), contextlib.closing(client):
                client.request("GET", "/version")
                return str(json.loads(client.getresponse().read())["version"])
        return ""

    def instances(self, service: str) -> list[str]:
        ours = [pod["metadata"]["annotations"]["ugs/version"] for pod in self.pods(service)]
        strangers = [
            one
            for one in self.workloads()
            if one["metadata"]["name"] == service and not _labels(one).get("ugs/site")
        ]
        return [*ours, *("stranger" for _ in strangers)]

    def labels(self, service: str) -> list[Mapping[str, str]]:
        found = [
            one["metadata"]
            for one in self.workloads()
            if one["metadata"]["labels"].get("ugs/service") == service
        ]
        return [
            {
                key.removeprefix("ugs/"): value
                for key, value in {**meta["labels"], **meta["annotations"]}.items()
                if key.startswith("ugs/")
            }
            for meta in found
        ]

    def crash_one(self, service: str) -> None:
        pod = self.pods(service)[0]["metadata"]["name"]
        with contextlib.closing(self.cluster.docker.api) as api:
            wanted = [f"io.kubernetes.pod.name={pod}", f"io.kubernetes.container.name={service}"]
            [container] = api.containers(filters={"label": wanted})
            api.kill(container["Id"])

    def drift(self, service: str) -> None:
        self.edit(service, {"spec": {"replicas": 1}})

    def edit(self, service: str, patch: dict[str, Any], *, manager: str = "kubectl-edit") -> None:
        """Change the service's Deployment by hand."""
        path = f"{self._path('apps/v1')}/deployments/{service}"
        self.cluster.send("PATCH", path, patch, manager=manager, content=MERGE)

    def stranger(self, service: str) -> None:
        labels = {"app": service}
        container = {"name": "theirs", "image": self.image("0.9.0")}
        spec = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        }
        body = {"metadata": {"name": service}, "spec": spec}
        self.cluster.send("POST", f"{self._path('apps/v1')}/deployments", body, manager="helm")

    def engine_down(self) -> None:
        self.cluster.stop_server()

    def engine_up(self) -> None:
        self.cluster.start_server()

    def workloads(self) -> list[Any]:
        """Every Deployment of the scenario's namespace."""
        found: list[Any] = self.cluster.get(f"{self._path('apps/v1')}/deployments")["items"]
        return found

    def pods(self, service: str) -> list[Any]:
        """The service's pods that are not being ended."""
        found = self.cluster.get(f"{self._path('v1')}/pods", labelSelector=f"ugs/service={service}")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def _path(self, group: str) -> str:
        base = f"/apis/{group}" if "/" in group else f"/api/{group}"
        return f"{base}/namespaces/{self.namespace}"

    def _there(self, path: str) -> bool:
        try:
            self.cluster.get(path)
        except UgsError:
            return False
        return True


def _labels(found: Any) -> Mapping[str, str]:
    labels: Mapping[str, str] = found["metadata"].get("labels", {})
    return labels


def start(folder: Path) -> Kubernetes:
    harness = Kubernetes(folder)
    harness.start()
    return harness
