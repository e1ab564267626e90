"""From the team's Compose file to the one that is brought up: one service, checked, its image and labels put in.

The file in the repository stays as it is. Compose never reads it: only what was checked here is handed on, so that no
two parsers can disagree about what it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from reconciler.drivers.docker.options import ORDINARY, Trusted, check_path, refused
from reconciler.model.errors import HostError

FILE_BYTES_MAX = 64 * 1024
NODES_MAX = 5_000
SERVICE_KEYS = frozenset(
    {
        "cap_add",
        "cap_drop",
        "command",
        "container_name",
        "cpu_shares",
        "cpus",
        "depends_on",
        "deploy",
        "dns",
        "entrypoint",
        "environment",
        "expose",
        "extra_hosts",
        "healthcheck",
        "hostname",
        "image",
        "init",
        "labels",
        "logging",
        "mem_limit",
        "mem_reservation",
        "networks",
        "pids_limit",
        "platform",
        "ports",
        "profiles",
        "read_only",
        "restart",
        "shm_size",
        "stop_grace_period",
        "stop_signal",
        "tmpfs",
        "ulimits",
        "user",
        "volumes",
        "working_dir",
    }
)
"""What a service may say. Everything else could reach the host, or reads more files."""
DROPPED = frozenset({"image", "depends_on", "profiles", "container_name"})
"""Ours to say, or about services that are brought up on their own."""
VARIABLE = re.compile(r"(?<!\$)(?:\$\$)*\$(?!\$)")
NAME = re.compile("[a-zA-Z0-9][a-zA-Z0-9_.-]*")
NETWORK_KEYS = frozenset({"internal", "attachable", "labels", "enable_ipv6"})
VOLUME_KEYS = frozenset({"labels"})


class Said(Struct, frozen=True):
    """What the team's file says of one service, checked: its definition, and the networks and volumes that it uses."""

    service: dict[str, Any]
    networks: dict[str, Any]
    volumes: dict[str, Any]


def read(data: bytes, path: str, service: str, said: Trusted) -> Said:
    """Raises HostError for what is no Compose file, lacks the service, or asks for more than `said` allows."""
    whole = _parsed(data, path)
    services = _mapping(whole.get("services"), f"{path}: services")
    if service not in services:
        known = ", ".join(sorted(map(str, services))) or "none"
        raise HostError(
            f"{path}: services: there is no service {service}, only {known}",
            "add it to the file, or take the pin out",
        )
    where = f"{path}: services.{service}"
    own = _mapping(services[service], where)
    for key in own:
        if key not in SERVICE_KEYS and not str(key).startswith("x-"):
            raise HostError(f"{where}.{key}: is not allowed here", "remove it; images are built before")
    _check_plain(own, where)
    for capability in own.get("cap_add") or ():
        if capability not in ORDINARY and capability not in said.capabilities:
            raise refused("compose", f"{where}.cap_add: {capability}", "capabilities", str(capability))
    used_volumes = [name for mount in own.get("volumes") or () if (name := _mount(mount, where, said))]
    used_networks = list(own.get("networks") or ["default"])
    return Said(
        {key: value for key, value in own.items() if key not in DROPPED},
        _shared(whole, "networks", used_networks, path, NETWORK_KEYS, said.networks),
        _shared(whole, "volumes", used_volumes, path, VOLUME_KEYS, said.volumes),
    )


def _parsed(data: bytes, path: str) -> dict[Any, Any]:
    if len(data) > FILE_BYTES_MAX:
        raise HostError(
            f"{path}: larger than {FILE_BYTES_MAX} bytes", "keep what is not of these services elsewhere"
        )
    try:
        loaded = YAML(typ="safe").load(data)
    except (YAMLError, ValueError, RecursionError) as error:
        raise HostError(f"{path}: is no YAML: {' '.join(str(error).split())}", "mend it") from error
    return _mapping(loaded, path)


def _mapping(value: object, where: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise HostError(f"{where}: is no mapping", "write a Compose file: services, by name")
    return value


def _check_plain(value: object, where: str) -> None:
    """No variables: nothing here fills them in, and a default in one would hide what is asked for."""
    waiting, seen = [value], 0
    while waiting:
        seen += 1
        if seen > NODES_MAX:
            raise HostError(f"{where}: says too much", "make it smaller: aliases count each time")
        match waiting.pop():
            case str() as text if VARIABLE.search(text):
                remedy = "write the value, $$ for a dollar, or use run.environment of the release"
                raise HostError(f"{where}: {text!r} has a variable", remedy)
            case dict() as mapping:
                waiting += [*mapping.keys(), *mapping.values()]
            case list() as items:
                waiting += items


def _mount(mount: object, where: str, said: Trusted) -> str:
    """The named volume that a mount uses; empty for a path of the host that is allowed, and for memory."""
    if isinstance(mount, str):
        source, colon, _ = mount.partition(":")
        kind = "bind" if source.startswith((".", "/", "~")) and colon else "volume"
        source = source if colon else ""
    else:
        found = _mapping(mount, f"{where}.volumes")
        kind, source = str(found.get("type")), str(found.get("source", ""))
    if kind == "bind":
        check_path(source, f"{where}.volumes", said, "compose")
    elif kind not in {"volume", "tmpfs"}:
        raise HostError(f"{where}.volumes: {kind} is not allowed here", "use a volume")
    if kind == "volume" and source and not NAME.fullmatch(source):
        raise HostError(f"{where}.volumes: {source!r} is no name of a volume", "mend it")
    return source if kind == "volume" else ""


def _shared(
    whole: Mapping[Any, Any],
    kind: str,
    names: Iterable[str],
    path: str,
    keys: frozenset[str],
    lent: tuple[str, ...],
) -> dict[str, Any]:
    """The file's networks or volumes of these names: the project's own, or external ones that ugs.yaml lends."""
    found: dict[str, Any] = {}
    defined = _mapping(whole.get(kind) or {}, f"{path}: {kind}")
    for name in names:
        where = f"{path}: {kind}.{name}"
        one = _mapping(defined.get(name) or {}, where)
        _check_plain(one, where)
        if one.get("external"):
            real = str(one.get("name", name))
            if real not in lent:
                raise refused("compose", f"{where}: {real}", kind, real)
            found[name] = {"external": True, "name": real}
            continue
        for key in one:
            if key not in keys and not str(key).startswith("x-"):
                raise HostError(f"{where}.{key}: is not allowed here", "remove it")
        found[name] = one
    return found
