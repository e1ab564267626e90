"""What the engine is asked to make, as values: the body of one container, and the argv of a command in one."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from msgspec import Struct

from reconciler.drivers.base import Cause, Site, Surroundings
from reconciler.drivers.docker.options import bytes_of, container_of, networks_of, trusted, volume_name
from reconciler.drivers.docker.seen import GRACE_LABEL, IMAGE_LABEL, NETWORKS_LABEL
from reconciler.drivers.labels import PREFIX, labels_of
from reconciler.drivers.render import LOOPBACK, expand, instance_values
from reconciler.model.errors import ArtifactError
from reconciler.model.release import Run, SecretName
from reconciler.model.target import Workload

SECRETS = "/run/secrets"
LOG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
EVERYWHERE = "0.0.0.0"  # noqa: S104  what `publish: host` says
ROOT = Path("/")


class Mounted(Struct, frozen=True):
    """Something that a container sees at `target`: a path of the host, or (`volume`) a volume."""

    source: str
    target: str
    read_only: bool
    volume: bool = False


def image_of(work: Workload) -> str:
    """Raises ArtifactError for a release that has none: this driver can never run it."""
    if work.release.artifact.image is None:
        raise ArtifactError(
            f"{work.release.place}: artifact: the docker driver needs an image", "add artifact.image"
        )
    return work.release.artifact.image


def inner_port(work: Workload) -> int | None:
    """Where the service listens inside its container: the release knows; a pin may say where it does not."""
    run = work.release.run
    return run.port if run and run.port else work.port


def published_port(work: Workload, index: int) -> int | None:
    """The host's port that leads to an instance; None where nothing is published."""
    if container_of(work).publish == "none" or work.port is None:
        return None
    return work.port + index


def values_of(work: Workload, index: int, host: str) -> dict[str, str]:
    """What placeholders stand for inside the container; in probes the published port, where there is one."""
    return instance_values(work, index, ROOT, inner_port(work), host)


def service_environment(site: Site, work: Workload, index: int) -> tuple[dict[str, str], dict[str, str]]:
    """What the service sees, secrets resolved now; and which of them are secrets."""
    plain, secret = dict[str, str](), dict[str, str]()
    values = values_of(work, index, LOOPBACK)
    for name, value in (work.release.run or Run()).environment.items():
        if isinstance(value, SecretName):
            secret[name] = site.secret(value.secret, work.environment, work.service)
        else:
            plain[name] = expand(value, values, work)
    plain |= {
        "UGS_ENVIRONMENT": work.environment,
        "UGS_SERVICE": work.service,
        "UGS_VERSION": str(work.target.version),
    }
    if work.flags:
        plain["UGS_FLAGS"] = json.dumps(work.flags, ensure_ascii=False, sort_keys=True)
    return plain, secret


def mounts_of(site: Site, work: Workload, *, home: str, files: Path, secrets: Path | None) -> list[Mounted]:
    """Rendered configuration, secrets, volumes and the paths of the host that are allowed.

    `home`: under whose name the environment's volumes are kept. `files`: where its configuration was rendered.
    """
    config = [
        Mounted(str(files / file.path), f"/{file.path}", read_only=True) for file in work.release.config
    ]
    if secrets is not None:
        config.append(Mounted(str(secrets), SECRETS, read_only=True))
    return config + [
        Mounted(mount.path, mount.at, mount.read_only)
        if mount.path is not None
        else Mounted(volume_name(site, home, mount.volume or ""), mount.at, mount.read_only, volume=True)
        for mount in container_of(work).mounts
    ]


def body_of(
    site: Site, cause: Cause, work: Workload, index: int, mounts: list[Mounted], variables: dict[str, str]
) -> dict[str, Any]:
    """The body of `POST /containers/create` for one instance."""
    own, run = container_of(work), work.release.run or Run()
    networks = networks_of(site, own)
    values = values_of(work, index, LOOPBACK)
    grace_s = math.ceil(run.stop_grace_s)
    body: dict[str, Any] = {
        "Image": image_of(work),
        "Env": [f"{name}={value}" for name, value in sorted(variables.items())],
        "Labels": {
            **own.labels,
            **labels_of(site, cause, work, index),
            IMAGE_LABEL: image_of(work),
            NETWORKS_LABEL: ",".join(networks),
            GRACE_LABEL: str(grace_s),
        },
        "StopTimeout": grace_s,
        "HostConfig": _host_config(work, index, networks[0], mounts)
        | ({"LogConfig": LOG} if trusted(site).log == "bounded" else {}),
    }
    if run.command:
        body["Cmd"] = [expand(word, values, work) for word in run.command]
    if own.user is not None:
        body["User"] = own.user
    if own.healthcheck == "off":
        body["Healthcheck"] = {"Test": ["NONE"]}
    if published_port(work, index) is not None:
        body["ExposedPorts"] = {f"{inner_port(work)}/tcp": {}}
    if networks[0] != "bridge":  # Docker's own bridge has no names
        body["NetworkingConfig"] = {"EndpointsConfig": {networks[0]: alias(work)}}
    return body


def alias(work: Workload) -> dict[str, list[str]]:
    """How the others of a network find a service: by its name."""
    return {"Aliases": [work.service]}


def command_prefix(
    site: Site, work: Workload, mounts: list[Mounted], names: list[str], *, data: Path
) -> tuple[str, ...]:
    """What runs a command in a container of its own, with the service's image, data and network.

    Variables are handed over by name: their values stand in the environment of the client alone. `data`: the
    host's folder of the service's backups, at the same path inside.
    """
    own, said = container_of(work), trusted(site)
    mounted = [*mounts, Mounted(str(data), str(data), read_only=False)]
    words = [said.program, "--host", said.url, "run", "--rm", "--init", "--entrypoint", ""]
    words += ["--network", networks_of(site, own)[0], "--cap-drop", "ALL"]
    words += ["--security-opt", "no-new-privileges", "--pids-limit", str(own.pids)]
    words += [word for one in own.capabilities for word in ("--cap-add", one)]
    words += [word for one in mounted for word in ("--mount", _mount_word(one))]
    words += [
        word for path, size in own.tmpfs.items() for word in ("--tmpfs", f"{path}:size={bytes_of(size)}")
    ]
    words += [word for name in sorted(names) for word in ("--env", name)]
    words += [
        "--label",
        f"{PREFIX}environment={work.environment}",
        "--label",
        f"{PREFIX}service={work.service}",
    ]
    if own.user is not None:
        words += ["--user", own.user]
    if own.memory is not None:
        words += ["--memory", str(bytes_of(own.memory))]
    if own.read_only:
        words.append("--read-only")
    return (*words, image_of(work))


def means_names(work: Workload) -> list[str]:
    """The variables that the release's own commands have: each command gets those of them that are its own."""
    means = (work.release.backup, *work.release.migrations)
    return [name for one in means if one is not None for name in one.environment]


def exec_prefix(site: Site, name: str) -> tuple[str, ...]:
    """What runs a probe's command beside the service."""
    said = trusted(site)
    return (said.program, "--host", said.url, "exec", name)


def around(
    site: Site, work: Workload, mounts: list[Mounted], variables: dict[str, str], *, data: Path
) -> Surroundings:
    """Of a command that works on the service's data."""
    names = {*variables, *means_names(work)}
    prefix = command_prefix(site, work, mounts, list(names), data=data)
    return Surroundings(ROOT, variables, values_of(work, 0, LOOPBACK), prefix)


def _host_config(work: Workload, index: int, network: str, mounts: list[Mounted]) -> dict[str, Any]:
    own = container_of(work)
    config: dict[str, Any] = {
        # It also brings services back after a reboot, and waits longer each time, up to a minute.
        "RestartPolicy": {"Name": "unless-stopped"},
        "NetworkMode": network,
        "CapDrop": ["ALL"],
        "CapAdd": list(own.capabilities),
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": own.pids,
        "ReadonlyRootfs": own.read_only,
        "Privileged": False,
        "Mounts": [_mount(one) for one in mounts],
        "Tmpfs": {path: f"size={bytes_of(size)}" for path, size in own.tmpfs.items()},
    }
    if own.memory is not None:
        config |= {"Memory": bytes_of(own.memory), "MemorySwap": bytes_of(own.memory)}
    if own.cpus is not None:
        config["NanoCpus"] = round(own.cpus * 1e9)
    port = published_port(work, index)
    if port is not None:
        host = LOOPBACK if own.publish == "loopback" else EVERYWHERE
        config["PortBindings"] = {f"{inner_port(work)}/tcp": [{"HostIp": host, "HostPort": str(port)}]}
    return config


def _mount(one: Mounted) -> dict[str, Any]:
    kind = "volume" if one.volume else "bind"
    return {"Type": kind, "Source": one.source, "Target": one.target, "ReadOnly": one.read_only}


def _mount_word(one: Mounted) -> str:
    """The client reads it as a line of CSV: what stands in quotes cannot begin another option."""
    kind = "volume" if one.volume else "bind"
    fields = [f"type={kind}", f"source={one.source}", f"target={one.target}"]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([*fields, "readonly"] if one.read_only else fields)
    return line.getvalue()
