"""What we made of a service, in short, so that what someone changed of it by hand is seen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from reconciler.drivers.labels import PREFIX

MADE = f"{PREFIX}made"
"""The label that carries the fingerprint of what UGS made."""
DIGITS = 8

Spec = Mapping[str, Any]


def _container(*keys: str) -> Callable[[Spec], Any]:
    return lambda spec: [spec.get("TaskTemplate", {}).get("ContainerSpec", {}).get(key) for key in keys]


def _template(*keys: str) -> Callable[[Spec], Any]:
    return lambda spec: [spec.get("TaskTemplate", {}).get(key) for key in keys]


PARTS: dict[str, Callable[[Spec], Any]] = {
    "image": _container("Image"),
    "command": _container("Command", "Args", "Dir", "User", "Groups", "Hostname", "TTY", "OpenStdin"),
    "environment": _container("Env"),
    "secrets": _container("Secrets"),
    "configs": _container("Configs"),
    "mounts": _container("Mounts"),
    "health check": _container("Healthcheck"),
    "stop": _container("StopGracePeriod", "StopSignal"),
    "privileges": _container("ReadOnly", "CapabilityAdd", "CapabilityDrop", "Sysctls", "Ulimits"),
    "hosts": _container("Hosts", "DNSConfig"),
    "networks": _template("Networks"),
    "placement": _template("Placement"),
    "resources": _template("Resources"),
    "restart policy": _template("RestartPolicy"),
    "ports": lambda spec: spec.get("EndpointSpec"),
    "replicas": lambda spec: spec.get("Mode"),
}
"""What `docker service update` and `docker service scale` can change of how instances run. Only these are compared,
so that a newer engine, which fills in more, does not look like someone's hand."""


def fingerprint(spec: Spec) -> str:
    """JSON: a few hex digits for each part that is there."""
    return msgspec.json.encode(_digests(spec), order="sorted").decode()


def changed(spec: Spec, made: str) -> str:
    """What of the spec is not as it was made, as words; empty when all is. `made`: what `fingerprint` said."""
    try:
        before = msgspec.json.decode(made, type=dict[str, str])
    except msgspec.DecodeError:
        return "labels"
    now = _digests(spec)
    return ", ".join(name for name in PARTS if before.get(name) != now.get(name))


def _digests(spec: Spec) -> dict[str, str]:
    found = {}
    for name, part in PARTS.items():
        if value := _bare(part(spec)):
            data = msgspec.json.encode(value, order="deterministic")
            found[name] = hashlib.sha256(data).hexdigest()[:DIGITS]
    return found


def _bare(value: Any) -> Any:
    """Without what says nothing (null, 0, false, empty), in an order that does not depend on who wrote it."""
    if isinstance(value, Mapping):
        return {key: kept for key, one in value.items() if (kept := _bare(one))}
    if isinstance(value, list | tuple):
        kept = [bare for one in value if (bare := _bare(one))]
        return sorted(kept, key=lambda one: msgspec.json.encode(one, order="deterministic"))
    return value or None
