"""The team's own manifest: one workload, which gets image, labels, environment and replicas from what is pinned.

It comes from the repository, so that what would reach beyond its own pods is let through only where ugs.yaml says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.drivers.kubernetes.rollout import PLURALS
from reconciler.model.document import read
from reconciler.model.errors import ArtifactError, InputError
from reconciler.model.target import Workload

HOST_FLAGS = ("hostNetwork", "hostPID", "hostIPC")
SAFE_VOLUMES = frozenset({"configMap", "emptyDir", "downwardAPI", "ephemeral"})
SECRETS = "secrets"
"""The word that lets a manifest read Secrets of the namespace by itself, which ugs.yaml has not granted one by one."""
CAPABILITY = "NET_BIND_SERVICE"
"""The one that the restricted profile of Kubernetes lets pods add."""
REMEDY = "correct it in a new release"


def parse(data: bytes, work: Workload) -> dict[str, Any]:
    """The manifest as plain data. Raises ArtifactError for one that can never be applied."""
    file = work.release.artifact.kubernetes.path if work.release.artifact.kubernetes else ""
    try:
        body = read(data, file).data
    except InputError as error:
        raise ArtifactError(str(error), REMEDY) from error

    def wrong(what: str) -> ArtifactError:
        return ArtifactError(f"{file}: {what}", REMEDY)

    if not isinstance(body, dict) or body.get("kind") not in PLURALS or body.get("apiVersion") != "apps/v1":
        raise wrong(f"this is not one object of apps/v1 of the kinds {', '.join(PLURALS)}")
    meta = body.setdefault("metadata", {})
    if meta.get("name", work.service) != work.service or "namespace" in meta:
        raise wrong(f"metadata.name must be {work.service}, and the namespace is the environment's to say")
    template = body.get("spec", {}).get("template", {})
    containers = template.get("spec", {}).get("containers")
    if (
        not isinstance(containers, list)
        or not all(isinstance(one, dict) for one in containers)
        or not containers
    ):
        raise wrong("spec.template.spec.containers has no container")
    if len(containers) > 1 and all(one.get("name") != work.service for one in containers):
        raise wrong(f"none of its containers is named {work.service}: nobody knows which one gets the image")
    return dict(body)


def reaches(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What of it reaches beyond its own pods: (the word that ugs.yaml can allow, where)."""
    pod = body["spec"]["template"]["spec"]
    for flag in HOST_FLAGS:
        if pod.get(flag):
            yield flag, f"spec.template.spec.{flag}"
    if pod.get("serviceAccountName", pod.get("serviceAccount", "default")) != "default":
        yield "serviceAccountName", "spec.template.spec.serviceAccountName"
    for volume in pod.get("volumes") or ():
        for kind in sorted(volume.keys() - SAFE_VOLUMES - {"name"}):
            word = SECRETS if kind in ("secret", "projected") else kind
            yield word, f"spec.template.spec.volumes[{volume.get('name')}].{kind}"
    for list_name in ("initContainers", "containers", "ephemeralContainers"):
        for one in pod.get(list_name) or ():
            where = f"spec.template.spec.{list_name}[{one.get('name')}]"
            yield from ((word, f"{where}.{tail}") for word, tail in _powers(one))


def _powers(container: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for one in (*(container.get("env") or ()), *(container.get("envFrom") or ())):
        if "secretKeyRef" in (one.get("valueFrom") or {}) or "secretRef" in one:
            yield SECRETS, f"env ({one.get('name') or 'envFrom'})"
    context = container.get("securityContext") or {}
    if context.get("privileged"):
        yield "privileged", "securityContext.privileged"
    for name in (context.get("capabilities") or {}).get("add") or ():
        if name != CAPABILITY:
            yield "capabilities", f"securityContext.capabilities.add ({name})"
    for port in container.get("ports") or ():
        if port.get("hostPort"):
            yield "hostPort", "ports.hostPort"
