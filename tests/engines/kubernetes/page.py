"""The manifests of docs/drivers/kubernetes, given to the real API server, and the account that they are for."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML

from reconciler.drivers.kubernetes.api import APPLY, path_of
from tests.engines.kubernetes import Kubernetes
from tests.engines.kubernetes.direct import Shop

DOCS = Path(__file__).parents[3] / "docs/drivers/kubernetes"
PLURALS = {
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ConfigMap": "configmaps",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
}


def documents(name: str, namespace: str) -> list[dict[str, Any]]:
    """A page's manifests, with the namespace of the services that they name as `shop`."""
    text = (DOCS / name).read_text().replace("namespace: shop", f"namespace: {namespace}")
    return list(YAML(typ="safe").load_all(text))


def apply(engine: Kubernetes, body: dict[str, Any], *, dry: bool = False) -> None:
    meta = body["metadata"]
    path = path_of(body["apiVersion"], PLURALS[body["kind"]], meta.get("namespace", ""), meta["name"])
    path = path.replace("/namespaces//", "/")
    query = {"fieldManager": "people"} | ({"dryRun": "All"} if dry else {})
    engine.cluster.api.call(f"apply {meta['name']}", "PATCH", path, query=query, body=body, content=APPLY)


def account(shop: Shop, folder: Path) -> Path:
    """A kubeconfig of the account that the pages' role is for, once the controllers have made its token."""
    engine = shop.engine
    for body in documents("rbac.yaml", engine.namespace):
        apply(engine, body)

    def tokens() -> list[str]:
        found = engine.cluster.get("/api/v1/namespaces/ugs/secrets")["items"]
        return [one["data"]["token"] for one in found if one["metadata"]["name"].startswith("ugs-token")]

    shop.until(tokens)
    [token] = tokens()
    config = msgspec.json.decode(engine.cluster.kubeconfig.read_bytes())
    (folder / "token").write_bytes(base64.b64decode(token))
    config["users"] = [{"name": "admin", "user": {"tokenFile": "token"}}]
    file = folder / "kubeconfig"
    file.write_bytes(msgspec.json.encode(config) + b"\n")
    return file
