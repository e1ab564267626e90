"""What must be true of the engine's host before anything that runs is touched: ports, networks and disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.drivers.base import Site
from reconciler.drivers.checks import DISK_RESERVE_BYTES
from reconciler.drivers.docker.body import published_port
from reconciler.drivers.docker.options import container_of, networks_of
from reconciler.drivers.docker.seen import Listed, containers, strangers
from reconciler.drivers.layout import names_of
from reconciler.drivers.machine.ports import stranger
from reconciler.drivers.mark import site_id
from reconciler.model.errors import HostError
from reconciler.model.target import Workload

if TYPE_CHECKING:
    from reconciler.drivers.docker.session import Client


def check_ports(client: Client, site: Site, work: Workload) -> None:
    """Raise HostError, naming the holder, for a port that is held by what is none of this service's."""
    wanted = {port for index in range(work.instances) if (port := published_port(work, index)) is not None}
    if not wanted:
        return
    listed = client.listed()
    site_name, names = site_id(site.state), names_of(site, work.environment)
    own = {one.id for one in containers(listed, site_name, names) if one.mark.service == work.service}
    # Those wait for a person to say that they may be put aside; then they hold nothing any more.
    own |= {one.id for one in strangers(listed, site_name, names).get(work.service, [])}
    holders = dict(_published(listed))
    for port in sorted(wanted):
        holder = holders.get(port)
        if holder is not None and holder.id in own:
            continue
        if said := f"the container {holder.name}" if holder else stranger(port, set):
            raise HostError(
                f"{work.place}: port {port} of {work.service} is taken by {said}",
                "stop that, or pin another port",
            )


def check_networks(client: Client, site: Site, work: Workload) -> None:
    """Raise HostError for a network that nobody has made."""
    known = {network["Name"] for network in client.networks()}
    for network in networks_of(site, container_of(work)):
        if network not in known:
            raise HostError(
                f"{work.place}: {work.service} is to join the network {network}, and there is none",
                f"make it with `docker network create {network}`, or name another",
            )


def check_engine_disk(client: Client) -> None:
    """Raise HostError when less than a small reserve is free where the engine keeps images and containers."""
    root = Path(client.info()["DockerRootDir"])
    with suppress(OSError):  # another user's, or another machine's: then the engine itself will tell
        free = shutil.disk_usage(root).free
        if free < DISK_RESERVE_BYTES:
            raise HostError(f"only {free} bytes are free under {root}", "free some disk space")


def _published(listed: Iterable[Listed]) -> Iterable[tuple[int, Listed]]:
    for one in listed:
        for port in one.ports or ():
            if port.public_port is not None:
                yield port.public_port, one
