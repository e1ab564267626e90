"""Where drivers keep their files, under `<state>/services/<environment>/<service>/`.

<version>/<digest>/         a release, unpacked and rendered, with its marker `.ugs-release.json`
<index>.<digest>.lock       locked by the instance's shim, and its record
<index>.<digest>.sock       where a shim hands on the public socket
logs/<index>.log            what the instance wrote, the older parts as .1 and .2
<index>.secrets             the variables of an instance that its unit of systemd must not name
errands/                    what a team's program has been asked to do, of the command driver
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from reconciler.drivers.base import Site
from reconciler.drivers.trouble import host_trouble
from reconciler.model.codec import resolve_types
from reconciler.model.target import Target, Workload

MARKER = ".ugs-release.json"
NO_VERSIONS = ("logs", "errands")
"""Folders of a service that hold no release."""


class Marker(Struct, frozen=True):
    """Stands in a release's directory as soon as that is complete. `sha256` is the archive's; where the release is an
    image, that."""

    sha256: str


class Record(Struct, frozen=True):
    """What a shim writes about itself: for people, for messages and for limits, never for what runs."""

    operation: str = ""
    boot_id: str = ""
    pid: int = 0
    started_ticks: int = 0
    stop_grace_s: float = 10.0
    probe_port: int | None = None
    exits: int = 0
    last_exit: str = ""


resolve_types(Marker, Record)


def environment_folder(site: Site, environment: str) -> Path:
    """Absolute, for services and shims have working directories of their own.

    Of an environment that was renamed, a link to the folder under its first name.
    """
    return site.state.resolve() / "services" / environment


def names_of(site: Site, environment: str) -> frozenset[str]:
    """The environment's name and all that it had before: what runs is marked with the one it was started under.

    Raises HostError.
    """
    here = environment_folder(site, environment)
    with host_trouble("see what runs"):
        home = here.resolve()
        others = here.parent.iterdir() if here.is_dir() else ()
        return frozenset({environment, *(other.name for other in others if other.resolve() == home)})


def service_folder(site: Site, environment: str, service: str) -> Path:
    return environment_folder(site, environment) / service


def folder_of(site: Site, work: Workload) -> Path:
    return service_folder(site, work.environment, work.service)


def directory_of(site: Site, work: Workload) -> Path:
    """The release's own directory: a config change under the same version stands beside the old one."""
    return folder_of(site, work) / str(work.target.version) / work.target.digest


def sweep(folder: Path, kept: Collection[str]) -> None:
    """Remove the directories of the service's releases whose target (its text) is not kept, and what a killed daemon
    left of one. Raises OSError."""
    for directory in folder.glob("*/*"):
        digest = directory.name.lstrip(".").partition("-")[0]
        if directory.parent.name not in NO_VERSIONS and f"{directory.parent.name}@{digest}" not in kept:
            shutil.rmtree(directory)
    for version in folder.iterdir() if folder.is_dir() else ():
        if version.is_dir() and version.name not in NO_VERSIONS and not any(version.iterdir()):
            version.rmdir()


def keeper_name(index: int, target: Target, suffix: str) -> str:
    """The name, in the service's folder, of the `lock` or `sock` file of one instance."""
    return f"{index}.{target.digest}.{suffix}"


def log_name(index: int) -> str:
    return f"logs/{index}.log"


def is_complete(directory: Path, sha256: str) -> bool:
    """Whether the release was unpacked from this very archive, to the end."""
    try:
        return msgspec.json.decode((directory / MARKER).read_bytes(), type=Marker).sha256 == sha256
    except (OSError, msgspec.MsgspecError):
        return False


def read_record(folder: Path, index: int, target: Target) -> Record:
    """The shim's record; an empty one when there is none, or only half of one. Raises HostError."""
    try:
        with host_trouble("see what runs"), suppress(FileNotFoundError):
            data = (folder / keeper_name(index, target, "lock")).read_bytes()
            return msgspec.json.decode(data, type=Record)
    except msgspec.MsgspecError:
        pass
    return Record()
