"""The driver itself over a real cluster, without a daemon: for what the suite of all engines does not ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import structs

from reconciler.drivers import kubernetes as driver
from reconciler.drivers.base import Cause, Site
from reconciler.model.observation import Observation
from reconciler.model.release import Artifact, Health, Probe, Run
from reconciler.model.target import Workload
from tests.build import release
from tests.build import work as work_of
from tests.engines.dockerd import PORT
from tests.engines.kubernetes import Kubernetes

WAIT_S = 240.0
CAUSE = Cause("0123456789abcdef", "f" * 40)
HEALTH = Health(deadline_s=120.0, probes=(Probe(http="http://{host}:{port}/healthz"),))


class Shop:
    """An environment in the harness's namespace, as the driver sees it."""

    def __init__(self, engine: Kubernetes, state: Path, **how: Any) -> None:
        self.engine = engine
        settings = {"kubeconfig": str(engine.cluster.kubeconfig), "namespaces": [engine.namespace]}
        self.site = Site(
            state=state,
            secret=lambda name, _environment, _service: f"secret of {name}",
            blob=lambda _revision, path: self.blobs[path],
            options={"namespace": engine.namespace},
            engine=settings | how,
        )
        self.blobs: dict[str, bytes] = {}

    def on(self, namespace: str = "", **engine: Any) -> Site:
        """The site with another namespace, or as ugs.yaml says otherwise."""
        options = {"namespace": namespace} if namespace else self.site.options
        allowed = [options["namespace"]]
        return structs.replace(
            self.site, options=options, engine={**self.site.engine, "namespaces": allowed, **engine}
        )

    def seen(self, service: str = "api") -> Observation:
        return driver.observe(self.site, "production").get(service, Observation(service))

    def states(self, service: str = "api") -> list[tuple[str, str]]:
        """(version, state) of every instance."""
        return [(str(one.target.version), one.state) for one in self.seen(service).instances]

    def detail(self, service: str = "api") -> str:
        return "; ".join(one.detail for one in self.seen(service).instances)

    def drift(self, service: str = "api") -> str:
        return next((one.drift for one in self.seen(service).instances), "")

    def until(
        self,
        condition: Callable[[], object],
        what: Callable[[], object] = lambda: "",
        *,
        wait_s: float = WAIT_S,
    ) -> None:
        end_s = time.monotonic() + wait_s
        while not condition():
            assert time.monotonic() < end_s, f"it did not come to be: {what()}"
            time.sleep(0.05)

    def until_runs(self, one: Workload, count: int | None = None) -> None:
        wanted = [(str(one.target.version), "running")] * (one.instances if count is None else count)
        self.until(
            lambda: self.states(one.service) == wanted and not self.drift(one.service),
            lambda: self.seen(one.service),
        )

    def work(self, version: str, image: str = "", **fields: Any) -> Workload:
        """A workload of an image that serves this version, unless another is given."""
        pinned = {key: fields.pop(key) for key in ("instances", "strategy", "rollout") if key in fields}
        service = fields.pop("service", "api")
        artifact = Artifact(image=image or self.engine.image(version))
        given = {"artifact": artifact, "health": HEALTH, "run": Run(port=PORT, stop_grace_s=2.0)} | fields
        return work_of(version, service, of=release(version, service, **given), **pinned)
