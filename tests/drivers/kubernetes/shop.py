"""An environment in the namespace `shop` of a stand-in for an API server: what tests of the driver put there."""

from __future__ import annotations

from typing import Any

from reconciler.drivers.base import Cause
from reconciler.drivers.kubernetes import marks
from reconciler.model.release import (
    Artifact,
    Run,
)
from reconciler.model.target import Workload
from tests.build import release
from tests.build import work as work_of
from tests.drivers.kubernetes.api_server import ApiServer

IMAGE = "127.0.0.1:9/api@sha256:" + "a" * 64
APPS = "/apis/apps/v1/namespaces/shop"
CORE = "/api/v1/namespaces/shop"
API = f"{APPS}/deployments/api"
CAUSE = Cause("op-1", "f" * 40)


def work(version: str = "1.0.0", **fields: Any) -> Workload:
    pinned = {key: fields.pop(key) for key in ("instances", "strategy", "rollout") if key in fields}
    fields = {"artifact": Artifact(image=IMAGE), "run": Run(port=8080)} | fields
    return work_of(version, of=release(version, **fields), **pinned)


def pod(
    server: ApiServer,
    one: Workload,
    name: str = "api-1",
    *,
    of: str = "api",
    ready: bool = True,
    **status: Any,
) -> None:
    """What a kubelet would report of a pod of this workload."""
    template = server.objects[f"{APPS}/deployments/{of}"]["spec"]["template"]["metadata"]
    meta = {**template, "uid": name, "creationTimestamp": "2026-11-03T12:00:00Z"}
    meta["labels"] = meta["labels"] | {marks.TARGET: one.target.digest}
    meta["annotations"] = {marks.VERSION: str(one.target.version)}
    state = {"running": {"startedAt": "2026-11-03T12:00:00Z"}}
    container = {"name": "api", "ready": ready, "state": state} | status
    said = {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "containerStatuses": [container],
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
    }
    server.put(f"{CORE}/pods/{name}", {"metadata": meta, "status": said})


def rolled(server: ApiServer, name: str = "api") -> None:
    """What the controller would report once the rollout is complete."""
    path = f"{APPS}/deployments/{name}"
    found = server.objects[path]
    counts = dict.fromkeys(
        ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), found["spec"]["replicas"]
    )
    server.put(path, found | {"status": {"observedGeneration": found["metadata"]["generation"], **counts}})


def stranger(server: ApiServer, **meta: Any) -> None:
    entry = {"manager": "helm", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    container = {"name": "theirs", "image": "old"}
    spec = {"selector": {"matchLabels": {"app": "api"}}, "template": {"spec": {"containers": [container]}}}
    server.put(API, {"metadata": {"generation": 1, "managedFields": [entry], **meta}, "spec": spec})
