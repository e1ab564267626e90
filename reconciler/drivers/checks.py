"""What must be true before anything that runs is touched: the command is there, ports and disk are free."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from reconciler.drivers.base import Site
from reconciler.drivers.layout import directory_of
from reconciler.drivers.machine.ports import stranger
from reconciler.drivers.render import expand, instance_values
from reconciler.drivers.started import command_file, port_of, run_of, search_path
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import ArtifactError, HostError
from reconciler.model.target import Workload

DISK_RESERVE_BYTES = 64 * 1024 * 1024
PORT_MAX = 65535


def check_command(site: Site, work: Workload) -> None:
    """Raise ArtifactError when the release's own command is not in its directory, or cannot be filled in."""
    run, directory = run_of(work), directory_of(site, work)
    values = instance_values(work, 0, directory, port_of(work, 0))
    for text in (*run.command, *(value for value in run.environment.values() if isinstance(value, str))):
        expand(text, values, work)
    path, is_own = command_file(work, directory)
    if is_own and not (path is not None and path.is_relative_to(directory) and _is_executable(path)):
        raise ArtifactError(
            f"{work.release.place}: run.command: the archive has no executable {run.command[0]!r}",
            "mend the archive or the command in a new release",
        )


def check_program(site: Site, work: Workload) -> None:
    """Raise HostError when the command is a program of this machine, and not installed."""
    path, is_own = command_file(work, directory_of(site, work))
    if not is_own and not (path is not None and _is_executable(path)):
        raise HostError(
            f"{work.release.place}: run.command: there is no program {run_of(work).command[0]!r} here "
            f"(PATH {search_path(work)})",
            "install it on this machine",
        )


def check_strategy(work: Workload) -> None:
    """Raise HostError for blue-green without the sockets that it needs."""
    if work.strategy == "blue-green" and (run_of(work).socket != "pass" or work.instances != 1):
        raise HostError(
            f"{work.place}: blue-green needs a release with run.socket: pass, and one instance",
            "pin the strategy stop-start, or one instance",
        )


def check_disk(site: Site) -> None:
    """Raise HostError when less than a small reserve is free where releases and logs go."""
    with host_trouble("look at the disk"):
        free = shutil.disk_usage(site.state).free
    if free < DISK_RESERVE_BYTES:
        raise HostError(f"only {free} bytes are free under {site.state}", "free some disk space")


def check_ports(work: Workload, own: Callable[[], set[int]]) -> None:
    """Raise HostError, naming the holder, when a port is held by a process that is none of the service's `own`."""
    for index in range(work.instances):
        port = port_of(work, index)
        if port is None:
            return
        if port > PORT_MAX:
            raise HostError(f"{work.place}: there is no port {port} for instance {index}", "pin a lower port")
        if holder := stranger(port, own):
            raise HostError(
                f"{work.place}: port {port} of {work.service} is taken by {holder}",
                "stop that, or pin another port",
            )


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
