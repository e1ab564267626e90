"""What ugs.yaml and an environment's file say of Docker, and whether a release stays within it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

from msgspec import Struct

from reconciler.drivers.base import Site
from reconciler.model.codec import convert, resolve_types
from reconciler.model.engines import Kind
from reconciler.model.errors import HostError
from reconciler.model.release import Container
from reconciler.model.target import Workload

SOCKET = "/var/run/docker.sock"
ORDINARY = frozenset(
    {
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
"""The capabilities that a release may keep by itself: those that Docker gives to everyone, without the raw sockets
and device nodes that no service needs."""
FORBIDDEN = ("docker.sock", "containerd.sock", "podman.sock")
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


class Trusted(Struct, frozen=True):
    """`engines.docker` of ugs.yaml: the operator's word."""

    socket: str = SOCKET
    program: str = "docker"
    """The client with which commands are run inside containers."""
    binds: tuple[str, ...] = ()
    """Folders of the host below which releases may mount paths."""
    volumes: tuple[str, ...] = ()
    """Volumes that may be used by their own name, beside those that belong to the environment."""
    networks: tuple[str, ...] = ()
    """Networks that may be joined, beside Docker's own bridge."""
    capabilities: tuple[str, ...] = ()
    """Capabilities that may be kept, beside the ordinary ones."""
    log: Literal["bounded", "engine"] = "bounded"
    """`bounded`: json-file, at most 30 MiB a container. `engine`: as the engine is configured."""

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"


class Asked(Struct, frozen=True):
    """`driver` of the environment's file, beside its kind: repository content."""

    network: str | None = None
    """The network that its services join, save those that name others."""


resolve_types(Trusted, Asked)


def trusted(site: Site) -> Trusted:
    return convert(dict(site.engine), Trusted)


def networks_of(site: Site, container: Container) -> tuple[str, ...]:
    """What a container joins, the first one at its start; nothing but Docker's bridge where nobody says."""
    asked = convert(dict(site.options), Asked)
    return container.networks or ((asked.network,) if asked.network else ("bridge",))


def container_of(work: Workload) -> Container:
    run = work.release.run
    return run.container if run and run.container else Container()


def check_allowed(site: Site, work: Workload, kind: Kind = "docker") -> None:
    """Raise HostError for what a release asks of the host, and ugs.yaml does not grant under `engines.KIND`."""
    said, own = trusted(site), container_of(work)
    where = f"{work.release.place}: run.container"
    for network in networks_of(site, own):
        if network != "bridge" and network not in said.networks:
            raise refused(kind, f"{where}.networks: the network {network}", "networks", network)
    for capability in own.capabilities:
        if capability not in ORDINARY and capability not in said.capabilities:
            raise refused(kind, f"{where}.capabilities: {capability}", "capabilities", capability)
    for mount in own.mounts:
        if mount.path is None:
            continue
        check_path(mount.path, f"{where}.mounts", said, kind)


def check_path(path: str, where: str, said: Trusted, kind: Kind) -> None:
    """Raise HostError for a path of the host that ugs.yaml does not lend, or that holds the engine itself."""
    if path.endswith(FORBIDDEN):
        raise HostError(f"{where}: {path} would hand over the whole machine", "remove it: nothing allows it")
    real = _real(path)
    if not path.startswith("/") or not any(real.is_relative_to(_real(prefix)) for prefix in said.binds):
        raise refused(kind, f"{where}: the host's path {path}", "binds", path)
    if Path(said.socket).resolve().is_relative_to(real):
        raise HostError(f"{where}: {path} holds the engine's socket", "name another folder")


def volume_name(site: Site, home: str, volume: str) -> str:
    """The engine's name of a volume: the environment's own, unless ugs.yaml lends one of that name."""
    return volume if volume in trusted(site).volumes else f"{home}_{volume}"


def bytes_of(size: str) -> int:
    """`512MiB` as bytes."""
    return int(size[:-3]) * UNITS[size[-3:]]


def _real(path: str) -> Path:
    """Where it leads: a link below an allowed folder must not lead out of it."""
    return Path(PurePosixPath(path)).resolve()


def refused(kind: Kind, what: str, key: str, value: str) -> HostError:
    """What the operator has not granted, by the key that would."""
    return HostError(
        f"{what} is not allowed here", f"add {value} to engines.{kind}.{key} in ugs.yaml, or do without it"
    )
