"""Five hundred Deployments on played nodes: a rollout of all at once, as one daemon sees it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from reconciler.drivers import kubernetes as driver
from reconciler.drivers.kubernetes.namespace import close_all
from reconciler.model.release import Artifact, Manifest
from reconciler.model.target import Workload
from tests.engines.kubernetes import Kubernetes
from tests.engines.kubernetes.direct import CAUSE, Shop
from tests.engines.kubernetes.played import Played

pytestmark = [
    pytest.mark.engine,
    pytest.mark.parametrize("engine", ["kubernetes"], indirect=True, scope="session"),
]
SERVICES, NODES, AT_ONCE = 500, 5, 8
WAIT_S = 900.0
OBSERVE_S = 1.0
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      nodeSelector: {played: "true"}
      tolerations: [{key: played, operator: Exists}]
      terminationGracePeriodSeconds: 0
      containers: [{name: only, image: placeholder}]
"""


@pytest.fixture
def shop(engine: Kubernetes, tmp_path: Path) -> Iterator[Shop]:
    engine.begin()
    played = Played(engine.cluster.api, NODES)
    played.start()
    yield Shop(engine, tmp_path)
    close_all()
    engine.end()
    played.stop()


def test_five_hundred_are_rolled_out_and_seen_in_one_look(shop: Shop) -> None:
    shop.blobs["only.yaml"] = DEPLOYMENT.encode()
    manifest = Manifest("only.yaml", hashlib.sha256(DEPLOYMENT.encode()).hexdigest())

    def of(service: str, version: str, mode: str = "ok") -> Workload:
        image = f"127.0.0.1:9/{service}:{mode}@sha256:{hashlib.sha256(version.encode()).hexdigest()}"
        artifact = Artifact(image=image, kubernetes=manifest)
        return shop.work(version, image, service=service, artifact=artifact, strategy="rolling")

    def deploy(one: Workload) -> None:
        driver.prepare(shop.site, one, "f" * 40)
        driver.apply(shop.site, CAUSE, one, 1)

    services = [f"service-{index}" for index in range(SERVICES)]
    for version in ("1.0.0", "1.1.0"):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(deploy, [of(service, version) for service in services]))
        shop.until(partial(_all_run, shop, services, version), wait_s=WAIT_S)
    looks = []
    for _ in range(5):
        began_s = time.perf_counter()
        seen = driver.observe(shop.site, "production")
        looks.append(time.perf_counter() - began_s)
    assert len(seen) == SERVICES
    assert min(looks) < OBSERVE_S, looks
    deploy(of("service-0", "1.2.0", "missing"))
    shop.until(lambda: "its image does not exist" in shop.detail("service-0"))
    deploy(of("service-1", "1.2.0", "crash"))
    shop.until(lambda: "CrashLoopBackOff" in shop.detail("service-1"))


def _all_run(shop: Shop, services: list[str], version: str) -> bool:
    seen = driver.observe(shop.site, "production")
    wanted = [(version, "running")]
    return all(
        service in seen
        and [(str(one.target.version), one.state) for one in seen[service].instances] == wanted
        for service in services
    )
