"""The team's own manifest: what is put into it, and what it may not have."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from msgspec import structs

from reconciler.drivers import kubernetes as driver
from reconciler.drivers.base import Site
from reconciler.drivers.kubernetes import marks
from reconciler.model.errors import ArtifactError, HostError
from reconciler.model.release import (
    Artifact,
    Manifest,
)
from reconciler.model.target import Workload
from tests.drivers.kubernetes.api_server import ApiServer
from tests.drivers.kubernetes.shop import API, APPS, CAUSE, CORE, IMAGE, work

MANIFEST = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {labels: {team: shop}}
spec:
  serviceName: api
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      containers:
        - {name: api, image: placeholder, env: [{name: KEPT, value: "1"}, {name: UGS_SERVICE, value: wrong}]}
        - {name: sidecar, image: proxy}
"""
SET = f"{APPS}/statefulsets/api"


def with_manifest(
    shop: Site, text: str = MANIFEST, version: str = "1.0.0", **fields: Any
) -> tuple[Site, Workload]:
    named = Manifest("deploy/api.yaml", hashlib.sha256(text.encode()).hexdigest())
    one = work(version, artifact=Artifact(image=IMAGE, kubernetes=named), **fields)
    return structs.replace(shop, blob=lambda _revision, _path: text.encode()), one


def test_the_teams_own_manifest_gets_what_is_pinned(shop: Site, server: ApiServer) -> None:
    site, one = with_manifest(shop, instances=3)
    assert "is not kept" in driver.restorable(site, one)
    with pytest.raises(HostError, match="is not kept"):
        driver.apply(site, CAUSE, one, 3)
    driver.prepare(site, one, "f" * 40)
    assert driver.restorable(site, one) == ""
    driver.apply(site, CAUSE, one, 3)
    found = server.objects[SET]
    assert found["spec"]["replicas"] == 3
    assert found["metadata"]["labels"]["team"] == "shop"
    assert found["spec"]["selector"]["matchLabels"] == {"app": "api"}
    api, sidecar = found["spec"]["template"]["spec"]["containers"]
    assert (api["image"], sidecar["image"]) == (IMAGE, "proxy")
    assert [one["value"] for one in api["env"] if one["name"] in ("KEPT", "UGS_SERVICE")] == ["1", "api"]
    driver.tidy(site, "production", "api", frozenset({str(one.target)}))
    assert driver.restorable(site, one) == ""
    driver.tidy(site, "production", "api", frozenset())
    assert driver.restorable(site, one) != ""


def test_a_canary_is_a_stateful_set_s_partition_and_a_stuck_pod_is_helped_back(
    shop: Site, server: ApiServer
) -> None:
    site, old = with_manifest(shop, instances=3, strategy="canary")
    driver.prepare(site, old, "f" * 40)
    driver.preflight(site, old)
    driver.apply(site, CAUSE, old, 1)
    assert server.objects[SET]["spec"]["updateStrategy"]["rollingUpdate"] == {"partition": 2}
    labels = server.objects[SET]["spec"]["template"]["metadata"]["labels"] | {marks.TARGET: "0" * 12}
    meta = {"labels": labels, "annotations": {marks.VERSION: "1.1.0"}}
    server.put(f"{CORE}/pods/api-2", {"metadata": meta, "status": {"phase": "Pending"}})
    driver.restore(site, CAUSE, old, environment="production", service="api")
    assert server.objects[SET]["spec"]["updateStrategy"]["rollingUpdate"] == {"partition": 0}
    assert f"{CORE}/pods/api-2" not in server.objects


def test_a_daemon_set_has_no_replicas(shop: Site, server: ApiServer) -> None:
    site, one = with_manifest(shop, MANIFEST.replace("StatefulSet", "DaemonSet"), strategy="rolling")
    driver.prepare(site, one, "f" * 40)
    driver.apply(site, CAUSE, one, 1)
    spec = server.objects[f"{APPS}/daemonsets/api"]["spec"]
    assert "replicas" not in spec
    assert spec["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1}


def test_a_release_of_another_kind_ends_the_old_one_first(shop: Site, server: ApiServer) -> None:
    driver.apply(shop, CAUSE, work(), 1)
    site, one = with_manifest(shop, version="1.1.0")
    driver.prepare(site, one, "f" * 40)
    driver.apply(site, CAUSE, one, 1)
    assert API not in server.objects
    assert SET in server.objects


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("kind: StatefulSet", "kind: Pod", "this is not one object of apps/v1"),
        ("metadata: {labels", "metadata: {name: web, labels", "metadata.name must be api"),
        ("metadata: {labels", "metadata: {namespace: x, labels", "the namespace is the environment's to say"),
        ("{name: api, image", "{name: web, image", "none of its containers is named api"),
        ("containers:", "others:", "has no container"),
        ("kind: StatefulSet", "kind: &a StatefulSet", "anchor"),
    ],
)
def test_a_manifest_that_can_never_be_applied_is_refused(shop: Site, old: str, new: str, what: str) -> None:
    site, one = with_manifest(shop, MANIFEST.replace(old, new))
    with pytest.raises(ArtifactError, match=what):
        driver.prepare(site, one, "f" * 40)


def test_another_content_than_was_meant_is_refused(shop: Site) -> None:
    _, one = with_manifest(shop)
    with pytest.raises(ArtifactError, match=r"deploy/api.yaml has the sha256"):
        driver.prepare(structs.replace(shop, blob=lambda _r, _p: b"other\n"), one, "f" * 40)


@pytest.mark.parametrize(
    ("beside", "inside", "word"),
    [
        ("hostNetwork: true", "", "hostNetwork"),
        ("serviceAccountName: admin", "", "serviceAccountName"),
        ("volumes: [{name: v, hostPath: {path: /}}]", "", "hostPath"),
        ("volumes: [{name: v, secret: {secretName: s}}]", "", "secrets"),
        ("", "securityContext: {privileged: true}", "privileged"),
        ("", "securityContext: {capabilities: {add: [NET_BIND_SERVICE, SYS_ADMIN]}}", "capabilities"),
        ("", "ports: [{hostPort: 80}]", "hostPort"),
        ("", "envFrom: [{secretRef: {name: s}}]", "secrets"),
    ],
)
def test_what_reaches_beyond_the_pods_is_let_through_only_where_ugs_yaml_says(
    shop: Site, beside: str, inside: str, word: str
) -> None:
    text = MANIFEST.replace("- {name: sidecar", f"- {{{inside}{', ' if inside else ''}name: sidecar")
    text += f"      {beside}\n" if beside else ""
    site, one = with_manifest(shop, text)
    with pytest.raises(HostError, match=f"does not allow it; add {word} to engines.kubernetes.allow"):
        driver.prepare(site, one, "f" * 40)
    allowing = structs.replace(site, engine={**site.engine, "allow": [word]})
    driver.prepare(allowing, one, "f" * 40)
