"""What is sent to the API server for one workload: values that a test can compare."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from reconciler.drivers.base import Cause
from reconciler.drivers.kubernetes import marks
from reconciler.drivers.kubernetes.rollout import Kind
from reconciler.drivers.render import expand, instance_values
from reconciler.model.release import Container, Probe, Run, SecretName
from reconciler.model.target import Workload

HISTORY = 3
"""How many old ReplicaSets are kept: bringing one back then starts no new template."""
PROGRESS_MIN_S = 10
HOST = "UGS_HOST"
"""The variable with the pod's own address, which nobody knows before the pod is there; `{host}` stands for it."""


class Around(Struct, frozen=True):
    """What is decided of a workload by what is there already, and by what was made for it.

    `selector`: of the object that is there; it can never change. `container`: the name of its only container.
    `secret`, `config`, `pull_secret`: names of the objects that hold them; empty where there are none.
    `name`, `colour`: of the side, where it is not the service's own name. `front`: a Service of ours stands before it.
    """

    site: str
    selector: Mapping[str, str] = {}
    container: str = ""
    secret: str = ""
    config: str = ""
    pull_secret: str = ""
    name: str = ""
    colour: str = ""
    front: bool = False


def workload(
    cause: Cause, work: Workload, upto: int, around: Around, manifest: dict[str, Any] | None
) -> dict[str, Any]:
    """The whole object, from the release's `run`, or from the team's own manifest with what is pinned put into it."""
    body = _copy(manifest) if manifest else _plain(work, around)
    kind: Kind = body["kind"]
    spec, meta = body["spec"], body.setdefault("metadata", {})
    template = spec["template"]
    side = {marks.COLOUR: around.colour} if around.colour else {}
    count = upto if kind == "Deployment" and work.strategy == "canary" else work.instances
    meta["name"] = around.name or work.service
    meta["labels"] = meta.get("labels", {}) | marks.labels(around.site, cause, work) | side
    meta["annotations"] = meta.get("annotations", {}) | marks.notes(work)
    meta["annotations"] |= {marks.FRONT: "true"} if around.front else {}
    meta["annotations"] |= {marks.INSTANCES: str(count)} if kind != "DaemonSet" else {}
    if names := secret_names(work):
        meta["annotations"][marks.SECRETS] = ",".join(sorted(set(names.values())))
    pod = template.setdefault("metadata", {})
    given = spec.get("selector", {}).get("matchLabels") or {marks.SERVICE: work.service}
    selector = dict(around.selector or given | side)
    pod["labels"] = pod.get("labels", {}) | marks.pod_labels(around.site, work) | selector
    pod["annotations"] = pod.get("annotations", {}) | marks.notes(work)
    spec["selector"] = {**spec.get("selector", {}), "matchLabels": selector}
    if kind != "DaemonSet":
        spec["replicas"] = count
    spec.setdefault("revisionHistoryLimit", HISTORY)
    _roll(kind, spec, work, upto)
    _fill(work, template["spec"], around)
    return body


def secret_names(work: Workload) -> dict[str, str]:
    """By environment variable, the secret that it is to hold."""
    values = work.release.run.environment if work.release.run else {}
    return {name: value.secret for name, value in values.items() if isinstance(value, SecretName)}


def secret(cause: Cause, work: Workload, site: str, name: str, values: Mapping[str, str]) -> dict[str, Any]:
    """What a service is given in secret. It never changes: other values are another object."""
    return _held(cause, work, site, "Secret", name) | {"immutable": True, "stringData": dict(values)}


def pull_secret(
    cause: Cause, work: Workload, site: str, name: str, host: str, login: tuple[str, str]
) -> dict[str, Any]:
    """How nodes sign in to the registry of an image."""
    auths = {"auths": {host: {"username": login[0], "password": login[1]}}}
    return _held(cause, work, site, "Secret", name) | {
        "type": "kubernetes.io/dockerconfigjson",
        "immutable": True,
        "stringData": {".dockerconfigjson": json.dumps(auths)},
    }


def config_map(
    cause: Cause, work: Workload, site: str, name: str, files: Mapping[str, str]
) -> dict[str, Any]:
    """The config files of a release, each under its path with what a key may not hold replaced."""
    data = {config_key(path): text for path, text in files.items()}
    return _held(cause, work, site, "ConfigMap", name) | {"immutable": True, "data": data}


def config_key(path: str) -> str:
    return path.replace("/", "__")


def _held(cause: Cause, work: Workload, site: str, kind: str, name: str) -> dict[str, Any]:
    metadata = {
        "name": name,
        "labels": marks.labels(site, cause, work),
        "annotations": marks.notes(work),
    }
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


def _plain(work: Workload, around: Around) -> dict[str, Any]:
    """A Deployment of one container, from what the release says about running."""
    run = work.release.run or Run()
    container: dict[str, Any] = {"name": around.container or work.service}
    if work.port is not None:
        container["ports"] = [{"name": "main", "containerPort": work.port}]
    if probe := _readiness(work):
        container["readinessProbe"] = probe
    container |= _limits(run.container) if run.container else {}
    pod = {
        "containers": [container],
        "terminationGracePeriodSeconds": math.ceil(run.stop_grace_s),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": pod}}}


def _limits(said: Container) -> dict[str, Any]:
    """What `run.container` says that Kubernetes has too."""
    context: dict[str, Any] = {
        "readOnlyRootFilesystem": said.read_only,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": list(said.capabilities)},
    }
    if said.user and said.user.isdecimal():
        context["runAsUser"] = int(said.user)
    limits = {"memory": (said.memory or "").removesuffix("B"), "cpu": str(said.cpus or "")}
    return {"securityContext": context, "resources": {"limits": {k: v for k, v in limits.items() if v}}}


def _fill(work: Workload, pod: dict[str, Any], around: Around) -> None:
    """Put image, command, environment, files and the pull secret into the container that is the service's."""
    run, containers = work.release.run or Run(), pod["containers"]
    wanted = around.container or work.service
    container = next((one for one in containers if one.get("name") == wanted), containers[0])
    container["image"] = work.release.artifact.image
    if run.command:
        container["args"] = [_text(word, work) for word in run.command]
    own: list[dict[str, Any]] = [{"name": HOST, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    own += [{"name": name, "value": text} for name, text in _environment(work, run).items()]
    own += [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": around.secret, "key": name}}}
        for name in secret_names(work)
    ]
    names = {one["name"] for one in own}
    container["env"] = [one for one in container.get("env", []) if one.get("name") not in names] + own
    if around.config:
        pod["volumes"] = [
            *pod.get("volumes", []),
            {"name": "ugs-config", "configMap": {"name": around.config}},
        ]
        container["volumeMounts"] = [
            *container.get("volumeMounts", []),
            *(
                {
                    "name": "ugs-config",
                    "mountPath": f"/{file.path}",
                    "subPath": config_key(file.path),
                    "readOnly": True,
                }
                for file in work.release.config
            ),
        ]
    if around.pull_secret:
        pod["imagePullSecrets"] = [*pod.get("imagePullSecrets", []), {"name": around.pull_secret}]


def _text(text: str, work: Workload) -> str:
    """Filled in. What Kubernetes itself would fill in, `$(NAME)`, is meant as it stands."""
    values = instance_values(work, 0, directory=Path("/"), port=work.port, host=f"$({HOST})")
    return expand(text.replace("$(", "$$("), values, work)


def _environment(work: Workload, run: Run) -> dict[str, str]:
    own = {name: _text(text, work) for name, text in run.environment.items() if isinstance(text, str)}
    own |= {
        "UGS_ENVIRONMENT": work.environment,
        "UGS_SERVICE": work.service,
        "UGS_VERSION": str(work.target.version),
    }
    if work.flags:
        own["UGS_FLAGS"] = json.dumps(work.flags, ensure_ascii=False, sort_keys=True)
    return own


def _roll(kind: Kind, spec: dict[str, Any], work: Workload, upto: int) -> None:
    """How the old pods give way: by the strategy that is pinned, on the engine's own means."""
    batch = work.rollout.batch
    match kind:
        case "Deployment":
            spec["strategy"] = {"type": "Recreate", "rollingUpdate": None}
            if work.strategy != "stop-start":
                # The new ones come first, so that as many serve as are pinned.
                spec["strategy"] = {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": batch, "maxUnavailable": 0},
                }
            spec["progressDeadlineSeconds"] = _progress_s(work)
            # Between the steps of a canary it is we who pause.
            pause_s = 0.0 if work.strategy == "canary" else work.rollout.pause_s
            spec["minReadySeconds"] = min(math.ceil(pause_s), _progress_s(work) - 1)
        case "StatefulSet":
            partition = max(0, work.instances - upto)
            spec["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
        case "DaemonSet":
            rolling = {"maxUnavailable": batch if work.strategy == "rolling" else "100%"}
            spec["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}


def _progress_s(work: Workload) -> int:
    """Kubernetes counts anew with every pod that comes up; ours is for all of them."""
    return max(PROGRESS_MIN_S, math.ceil(work.release.health.deadline_s), math.ceil(work.rollout.pause_s) + 1)


def _readiness(work: Workload) -> dict[str, Any] | None:
    """The first probe that asks the service's own port, as the kubelet makes it: rolling on needs to know."""
    if work.port is None:
        return None
    for probe in work.release.health.probes:
        how: dict[str, Any] | None = None
        if probe.http is not None and (path := _own_path(probe)):
            how = {"httpGet": {"path": path, "port": work.port}}
        elif probe.tcp is not None and probe.tcp.endswith(":{port}"):
            how = {"tcpSocket": {"port": work.port}}
        if how:
            return how | {
                "periodSeconds": max(1, round(probe.interval_s)),
                "timeoutSeconds": max(1, math.ceil(probe.timeout_s)),
                "failureThreshold": probe.failures,
            }
    return None


def _own_path(probe: Probe) -> str:
    """The path of a probe of the service's own port that a kubelet would find healthy too; empty otherwise."""
    address = probe.http or ""
    if not 200 <= (probe.expect_status or 200) < 400 or not address.startswith("http://{host}:{port}"):
        return ""
    rest = urlsplit(address.replace("{host}:{port}", "h", 1))
    return (rest.path or "/") + (f"?{rest.query}" if rest.query else "")


def _copy(manifest: dict[str, Any]) -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(manifest))
    return copied
