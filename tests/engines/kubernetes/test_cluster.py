"""What only a real API server can say: field owners, dry runs, rights, partitions, quotas."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reconciler.drivers import kubernetes as driver
from reconciler.drivers.base import Cause
from reconciler.model.errors import ArtifactError, HostError
from reconciler.model.release import Artifact, Health, Manifest, Run, SecretName
from tests.engines.dockerd import PORT
from tests.engines.kubernetes import NOWHERE
from tests.engines.kubernetes.direct import CAUSE, Shop
from tests.engines.kubernetes.page import apply, documents

pytestmark = [
    pytest.mark.engine,
    pytest.mark.parametrize("engine", ["kubernetes"], indirect=True, scope="session"),
]
SET = """\
apiVersion: apps/v1
kind: StatefulSet
spec:
  serviceName: api
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: api
          image: placeholder
          readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
"""


def test_the_pages_role_is_enough_and_what_is_beyond_it_is_named(shop: Shop, page_account: Path) -> None:
    engine = shop.engine
    shop.site = shop.on(kubeconfig=str(page_account))
    run = Run(port=PORT, stop_grace_s=2.0, environment={"DB": SecretName("db")})
    old, new = shop.work("1.0.0", run=run), shop.work("1.1.0", strategy="rolling")
    driver.preflight(shop.site, old)
    driver.apply(shop.site, CAUSE, old, 1)
    shop.until_runs(old)
    assert driver.logs(shop.site, "production", "api", lines=3)
    engine.edit("api", {"spec": {"paused": True}})
    shop.until(shop.drift)
    driver.apply(shop.site, CAUSE, new, 1)
    shop.until_runs(new)
    driver.tidy(shop.site, "production", "api", frozenset())
    driver.rename(shop.site, "production", "prod")
    driver.rename(shop.site, "prod", "production")
    driver.restore(shop.site, CAUSE, None, environment="production", service="api")
    assert shop.states() == []
    with pytest.raises(
        HostError, match=r'cannot list resource "pods" .* in the namespace "default"; grant it'
    ):
        driver.observe(shop.on("default"), "production")


def test_the_pages_manifests_are_what_a_server_takes(shop: Shop) -> None:
    for body in documents("rbac.yaml", shop.engine.namespace):
        apply(shop.engine, body)
    for body in documents("ugs.yaml", shop.engine.namespace):
        apply(shop.engine, body, dry=True)


def test_without_namespace_or_credentials_it_is_said_before_anything_is_touched(shop: Shop) -> None:
    one = shop.work("1.0.0")
    with pytest.raises(HostError, match='namespaces "nowhere" not found; create the namespace'):
        driver.preflight(shop.on("nowhere"), one)
    unknown = shop.on(contexts=["nobody"])
    unknown = msgspec.structs.replace(unknown, options={**unknown.options, "context": "nobody"})
    with pytest.raises(HostError, match="does not accept our credentials"):
        driver.observe(unknown, "production")
    wrong = shop.work("1.0.0", health=Health(deadline_s=1e12))
    with pytest.raises(ArtifactError):
        driver.preflight(shop.site, wrong)


def test_what_people_change_or_add_goes_and_what_others_own_is_named(shop: Shop) -> None:
    one = shop.work("1.0.0", instances=2)
    driver.apply(shop.site, CAUSE, one, 2)
    shop.until_runs(one)
    [before] = shop.engine.workloads()
    hand = {"replicas": 1, "paused": True, "template": {"spec": {"nodeSelector": {"x": "y"}}}}
    shop.engine.edit("api", {"spec": hand})
    shop.until(shop.drift)
    assert shop.drift() == "kubectl-edit set spec.paused, spec.replicas, spec.template.spec.nodeSelector.x"
    driver.preflight(shop.site, one)
    driver.apply(shop.site, CAUSE, one, 2)
    [after] = shop.engine.workloads()
    assert after["spec"] == before["spec"]
    shop.until_runs(one)
    shop.engine.edit("api", {"spec": {"replicas": 3}}, manager="autoscaler")
    owned = r'\.spec\.replicas: conflict with "autoscaler"'
    with pytest.raises(HostError, match=owned):
        driver.preflight(shop.site, one)
    with pytest.raises(HostError, match=owned):
        driver.apply(shop.site, CAUSE, one, 2)


def test_a_scale_that_an_old_server_keeps_no_account_of_is_seen_and_taken_back(shop: Shop) -> None:
    one = shop.work("1.0.0", instances=2)
    driver.apply(shop.site, CAUSE, one, 2)
    shop.until_runs(one)
    path = f"/apis/apps/v1/namespaces/{shop.engine.namespace}/deployments/api/scale"
    body = {"spec": {"replicas": 1}}
    shop.engine.cluster.send("PATCH", path, body, manager="kubectl", content="application/merge-patch+json")
    shop.until(shop.drift)
    driver.apply(shop.site, CAUSE, one, 2)
    shop.until_runs(one)


def test_what_was_there_before_is_taken_over_whole_once_a_person_says_so(shop: Shop) -> None:
    one = shop.work("1.0.0")
    shop.engine.stranger("api")
    shop.until(lambda: shop.seen().foreign)
    assert shop.seen().foreign == "the Deployment api is not ours: helm made it"
    with pytest.raises(HostError, match="ugs adopt"):
        driver.apply(shop.site, CAUSE, one, 1)
    driver.apply(shop.site, Cause(CAUSE.operation, adopted=True), one, 1)
    shop.until_runs(one)
    assert shop.engine.answers("api") == "1.0.0"


def test_the_strategies_change_from_one_to_another(shop: Shop) -> None:
    first, second, third = (
        shop.work(version, strategy=strategy)
        for version, strategy in (("1.0.0", "stop-start"), ("1.1.0", "rolling"), ("1.2.0", "stop-start"))
    )
    for one in (first, second, third):
        driver.preflight(shop.site, one)
        driver.apply(shop.site, CAUSE, one, 1)
        shop.until_runs(one)
    driver.restore(shop.site, CAUSE, first, environment="production", service="api")
    shop.until_runs(first)
    sets = shop.engine.cluster.get(f"/apis/apps/v1/namespaces/{shop.engine.namespace}/replicasets")["items"]
    assert len(sets) == 3  # the first one's was brought back


def test_a_crash_and_an_image_that_is_nowhere_are_told_as_what_they_are(shop: Shop) -> None:
    crashing = shop.work("1.0.0", shop.engine.image("1.0.0", "crash"))
    driver.apply(shop.site, CAUSE, crashing, 1)
    shop.until(lambda: "its last words: crashing on purpose" in shop.detail(), shop.detail)
    absent = shop.work("1.1.0", f"{shop.engine.registry.name}/absent@{NOWHERE}")
    with pytest.raises(ArtifactError, match="has no absent@sha256"):
        driver.prepare(shop.site, absent, "f" * 40)
    driver.apply(shop.site, CAUSE, absent, 1)
    shop.until(lambda: "its image does not exist" in shop.detail(), shop.detail)
    assert shop.states() == [("1.1.0", "crashed")]


def test_a_quota_keeps_pods_waiting_and_fails_nothing(shop: Shop) -> None:
    path = f"/api/v1/namespaces/{shop.engine.namespace}/resourcequotas"
    shop.engine.cluster.send("POST", path, {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}})
    one = shop.work("1.0.0", instances=2)
    shop.until(lambda: shop.engine.cluster.get(f"{path}/q")["status"].get("used"))
    driver.apply(shop.site, CAUSE, one, 2)
    shop.until(lambda: sorted(shop.states()) == [("1.0.0", "running"), ("1.0.0", "starting")], shop.detail)
    shop.until(lambda: "exceeded quota: q" in shop.detail(), shop.detail)


def test_a_canary_goes_by_partition_and_a_stuck_set_comes_back(shop: Shop) -> None:
    shop.blobs["api.yaml"] = SET.encode()
    manifest = Manifest("api.yaml", hashlib.sha256(SET.encode()).hexdigest())

    def of(version: str, image: str) -> Any:
        artifact = Artifact(image=image, kubernetes=manifest)
        one = shop.work(version, image, artifact=artifact, instances=2, strategy="canary")
        driver.prepare(shop.site, one, "f" * 40)
        driver.preflight(shop.site, one)
        return one

    old = of("1.0.0", shop.engine.image("1.0.0"))
    driver.apply(shop.site, CAUSE, old, 2)
    shop.until_runs(old)
    new = of("1.1.0", shop.engine.image("1.1.0"))
    driver.apply(shop.site, CAUSE, new, 1)
    shop.until(lambda: sorted(shop.states()) == [("1.0.0", "running"), ("1.1.0", "running")], shop.states)
    assert {str(one.target.version): one.index for one in shop.seen().instances} == {"1.1.0": 0, "1.0.0": 1}
    assert len(driver.endpoints(shop.site, new)) == 1
    bad = of("1.2.0", shop.engine.image("1.2.0", "unhealthy"))
    driver.apply(shop.site, CAUSE, bad, 2)
    shop.until(lambda: ("1.2.0", "starting") in shop.states() and "not ready yet" in shop.detail(), shop.seen)
    driver.restore(shop.site, CAUSE, old, environment="production", service="api")
    shop.until_runs(old)
