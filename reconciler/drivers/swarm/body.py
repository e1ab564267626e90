"""From what is pinned to the specification of a service, as a value: what a manager is asked to make so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from reconciler.drivers.base import Cause, Site
from reconciler.drivers.docker.body import SECRETS, image_of, inner_port, values_of
from reconciler.drivers.docker.options import bytes_of, container_of, volume_name
from reconciler.drivers.labels import labels_of
from reconciler.drivers.render import LOOPBACK, expand
from reconciler.drivers.swarm.fingerprint import MADE, fingerprint
from reconciler.drivers.swarm.options import Layout, Order, name_of
from reconciler.drivers.swarm.slots import UPTO
from reconciler.model.errors import ArtifactError
from reconciler.model.release import Mount, Run, SecretName
from reconciler.model.rollout import count_of
from reconciler.model.target import Workload

NANOSECONDS = 1_000_000_000
RESTART_DELAY_S = 2
PAUSE_MIN_S = 5.0
HELD_S = 24 * 3600
"""A pause that is never waited for: between the steps of a canary Swarm replaces nothing by itself."""
ALIKE = ("instance", "host")
"""What cannot be filled in: all instances are made from one specification."""

Spec = dict[str, Any]


class Given(Struct, frozen=True):
    """What the specification refers to by ids of Swarm's: networks by name, (name, id) of secrets by variable and of
    configs by path, and who owns and may do what with the latter."""

    networks: Mapping[str, str] = {}
    secrets: Mapping[str, tuple[str, str]] = {}
    configs: Mapping[str, tuple[str, str]] = {}
    modes: Mapping[str, tuple[int, int, int]] = {}
    """Of configs by path: user, group, mode."""


class Before(Struct, frozen=True):
    """What there is already of the service: its name, how many instances it has, how often someone forced an update,
    and the labels with which what runs of the same target was made."""

    name: str = ""
    replicas: int = 0
    forced: int = 0
    labels: Mapping[str, str] | None = None


def spec_of(
    site: Site, cause: Cause, work: Workload, upto: int, *, layout: Layout, given: Given, before: Before
) -> Spec:
    """The whole specification. The same for the same words: making it so once more replaces nothing.

    Instances of a target that runs already keep the labels that they were made with: other labels would be other
    instances to Swarm, which would start them anew.
    """
    own, said = dict(container_of(work).labels), labels_of(site, cause, work)
    partial = upto < work.instances
    spec: Spec = {
        "Name": before.name or name_of(work.environment, work.service),
        "Mode": {"Replicated": {"Replicas": (before.replicas or upto) if partial else work.instances}},
        "TaskTemplate": {
            "ContainerSpec": _container(site, work, dict(before.labels or own | said), given),
            "Resources": {"Limits": _limits(work)},
            "RestartPolicy": {"Condition": "any", "Delay": RESTART_DELAY_S * NANOSECONDS},
            "Placement": {"Constraints": list(layout.constraints)},
            "Networks": [
                {"Target": given.networks[name], "Aliases": [work.service]} for name in layout.networks
            ],
            "ForceUpdate": before.forced,
            "Runtime": "container",
        },
        "UpdateConfig": update_config(work, upto, layout),
        "EndpointSpec": _endpoint(work, layout),
    }
    return spec | {"Labels": own | said | {UPTO: str(upto), MADE: fingerprint(spec)}}


def update_config(work: Workload, upto: int, layout: Layout) -> Spec:
    """How Swarm lets the old instances give way. Where one fails it stops: taking it back is ours alone."""
    match work.strategy:
        case "rolling":
            size, pause_s = count_of(work.rollout.batch, work.instances), pause_s_of(work)
        case "canary" if upto < work.instances:
            # Two steps must differ in something, or the second would be the same update to Swarm: in the pause.
            size, pause_s = _step(work, upto), HELD_S + upto
        case _:
            size, pause_s = 0, 0.0  # all at once
    return {
        "Parallelism": size,
        "Delay": round(pause_s * NANOSECONDS),
        "Order": order_of(work, layout),
        "FailureAction": "pause",
        "Monitor": round(pause_s_of(work) * NANOSECONDS),
        "MaxFailureRatio": 0,
    }


def pause_s_of(work: Workload) -> float:
    """Between two batches, for as long as Swarm watches the first. Without a pause it would begin the next before it
    has seen that one fail."""
    return max(work.rollout.pause_s, PAUSE_MIN_S)


def order_of(work: Workload, layout: Layout) -> Order:
    """The new one first only where both fit beside each other: a node's port is there once."""
    if work.strategy == "stop-start":
        return "stop-first"
    if layout.order:
        return layout.order
    alone = (is_published(work) and layout.publish == "host") or container_of(work).mounts
    return "stop-first" if alone else "start-first"


def is_published(work: Workload) -> bool:
    return container_of(work).publish != "none" and work.port is not None


def secrets_of(work: Workload) -> dict[str, str]:
    """By variable, the name of the secret that it stands for."""
    said = (work.release.run or Run()).environment
    return {name: value.secret for name, value in said.items() if isinstance(value, SecretName)}


def _step(work: Workload, upto: int) -> int:
    """How many more instances a step of a canary replaces."""
    counts = (count_of(share, work.instances) for share in work.rollout.canary)
    return upto - max((count for count in counts if count < upto), default=0)


def _endpoint(work: Workload, layout: Layout) -> Spec:
    ports = []
    if is_published(work):
        port = {"TargetPort": inner_port(work), "PublishedPort": work.port, "PublishMode": layout.publish}
        ports.append({"Protocol": "tcp", **port})
    return {"Mode": "dnsrr" if layout.balance == "dns" else "vip", "Ports": ports}


def _container(site: Site, work: Workload, said: dict[str, str], given: Given) -> Spec:
    own, run = container_of(work), work.release.run or Run()
    spec: Spec = {
        "Image": image_of(work),
        "Labels": said,
        "Args": [_filled(word, work) for word in run.command],
        "Env": _variables(work, run),
        "StopGracePeriod": round(run.stop_grace_s * NANOSECONDS),
        "ReadOnly": own.read_only,
        "CapabilityDrop": ["ALL"],
        "CapabilityAdd": [f"CAP_{name}" for name in own.capabilities],
        "Mounts": [_mount(site, work, mount) for mount in own.mounts]
        + [
            {"Type": "tmpfs", "Target": at, "TmpfsOptions": {"SizeBytes": bytes_of(size)}}
            for at, size in own.tmpfs.items()
        ],
        "Secrets": [
            _file("Secret", variable, named, owner=(0, 0, 0o444))
            for variable, named in sorted(given.secrets.items())
        ],
        "Configs": [
            _file("Config", f"/{path}", named, owner=given.modes[path])
            for path, named in sorted(given.configs.items())
        ],
        "Isolation": "default",
    }
    if own.user is not None:
        spec["User"] = own.user
    if own.healthcheck == "off":
        spec["Healthcheck"] = {"Test": ["NONE"]}
    return spec


def _variables(work: Workload, run: Run) -> list[str]:
    """A secret is a file, and the variable with `_FILE` after its name says which: variables can be read by whoever
    may look at the service."""
    said = {
        f"{name}_FILE" if isinstance(value, SecretName) else name: (
            f"{SECRETS}/{name}" if isinstance(value, SecretName) else _literal(_filled(value, work))
        )
        for name, value in run.environment.items()
    }
    said |= {
        "UGS_ENVIRONMENT": work.environment,
        "UGS_SERVICE": work.service,
        "UGS_VERSION": str(work.target.version),
        "UGS_INSTANCE": "{{.Task.Slot}}",
    }
    if work.flags:
        said["UGS_FLAGS"] = _literal(json.dumps(work.flags, ensure_ascii=False, sort_keys=True))
    return [f"{name}={value}" for name, value in sorted(said.items())]


def _filled(text: str, work: Workload) -> str:
    for name in ALIKE:
        if f"{{{name}}}" in text:
            raise ArtifactError(
                f"{work.release.place}: run: {text!r} asks for {{{name}}}, and Swarm makes all instances alike",
                "read UGS_INSTANCE, which Swarm counts from 1, in a new release",
            )
    return expand(text, values_of(work, 0, LOOPBACK), work)


def _literal(text: str) -> str:
    """Swarm would fill in `{{…}}` in a variable: what the release says arrives as it stands."""
    return text.replace("{{", '{{"{{"}}')


def _limits(work: Workload) -> Spec:
    own = container_of(work)
    return {
        "Pids": own.pids,
        "MemoryBytes": bytes_of(own.memory) if own.memory else 0,
        "NanoCPUs": round((own.cpus or 0) * NANOSECONDS),
    }


def _mount(site: Site, work: Workload, mount: Mount) -> Spec:
    if mount.path is not None:
        kind, source = "bind", mount.path
    else:
        kind, source = "volume", volume_name(site, work.environment, mount.volume or "")
    return {"Type": kind, "Source": source, "Target": mount.at, "ReadOnly": mount.read_only}


def _file(kind: str, at: str, named: tuple[str, str], *, owner: tuple[int, int, int]) -> Spec:
    user, group, mode = owner
    name, identity = named
    file = {"Name": at, "UID": str(user), "GID": str(group), "Mode": mode}
    return {"File": file, f"{kind}ID": identity, f"{kind}Name": name}
