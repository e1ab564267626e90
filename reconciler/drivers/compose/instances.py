"""A service's containers, one by one: Compose makes each from a file of its own, which says what instance it is.

Compose itself replaces a service as a whole. Here it is told to leave alone what is there (`--no-recreate`), and to
have one container more: so old and new run beside each other, in the same project and networks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from reconciler import command
from reconciler.drivers.base import Cause, Site
from reconciler.drivers.compose.file import Said
from reconciler.drivers.compose.project import SAID, body_of, file_of, project_of, trusted, up_argv
from reconciler.drivers.compose.seen import drift_of, ours, strangers_of
from reconciler.drivers.docker.body import service_environment
from reconciler.drivers.docker.client import engine, refusal
from reconciler.drivers.docker.instances import STOPS_AT_ONCE, home_of, is_wanted, remove
from reconciler.drivers.docker.seen import Seen
from reconciler.drivers.layout import directory_of
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import HostError
from reconciler.model.target import Workload

if TYPE_CHECKING:
    from reconciler.drivers.docker.session import Client

UP_TIMEOUT_S = 300.0


def found_of(client: Client, site: Site, environment: str, service: str) -> list[Seen]:
    """All containers of a service that are ours, those that ended too."""
    return [one for one in ours(site, environment, client.listed()) if one.mark.service == service]


def said_of(site: Site, work: Workload) -> Said:
    """What the Compose file says of the service, as it was checked. Raises HostError when it is not kept."""
    file = directory_of(site, work) / SAID
    with host_trouble(f"read {file}"):
        return msgspec.json.decode(file.read_bytes(), type=Said)


def is_alone(said: Said) -> bool:
    """Whether no two containers of the service fit beside each other: they would have a port, or an address, alike."""
    networks = said.service.get("networks")
    each = networks.values() if isinstance(networks, dict) else ()
    fixed = any(key in (one or {}) for one in each for key in ("ipv4_address", "ipv6_address", "mac_address"))
    return bool(said.service.get("ports")) or fixed


def replace_alone(client: Client, site: Site, cause: Cause, work: Workload) -> bool:
    """Have Compose put the only instance in the place of what runs; False where one of it is there already.

    So what the old container has in volumes without a name is the new one's.
    """
    if any(is_wanted(one, work) for one in found_of(client, site, work.environment, work.service)):
        return False
    _up(site, cause, work, 0, scale=1, recreate=True)
    return True


def ensure(client: Client, site: Site, cause: Cause, work: Workload, index: int) -> None:
    """See that one instance runs, beside whatever else does."""
    found = found_of(client, site, work.environment, work.service)
    there = [one for one in found if (one.mark.index, one.mark.target) == (index, work.target)]
    there.sort(key=lambda one: not one.is_alive)
    for copy in there[1:]:  # of a Compose that went on after its daemon was killed
        remove(client, site, work.environment, copy)
    if there and there[0].is_alive:
        return
    count = len(found) - len(there[1:])
    _up(site, cause, work, index, scale=count if there else count + 1, recreate=False)


def clear(site: Site, environment: str, gone: Iterable[Seen]) -> None:
    """Stop containers and remove them, several at a time: one that is kept Compose would start again."""
    with ThreadPoolExecutor(STOPS_AT_ONCE) as pool:
        list(pool.map(partial(_clear, site, environment), gone))


def clear_drifted(client: Client, site: Site, environment: str, service: str) -> None:
    """Remove what somebody changed, so that it is made anew."""
    for one in found_of(client, site, environment, service):
        if drift_of(one):
            remove(client, site, environment, one)


def clear_strangers(client: Client, site: Site, environment: str, service: str) -> None:
    """Remove what somebody brought up of this service in the project, as Compose does when it replaces it."""
    for one in strangers_of(site, environment, service, client.listed()):
        client.remove_container(one.id, force=True)


def written(site: Site, cause: Cause, work: Workload, index: int) -> Path:
    """The file that Compose makes an instance of. A repair takes the one that is there, which says what brought it."""
    file = file_of(directory_of(site, work), index)
    if file.exists() and not cause.revision:
        return file
    body = body_of(
        site, cause, work, said_of(site, work), project_of(site, home_of(site, work.environment)), index
    )
    with host_trouble(f"write {file}"):
        unfinished = file.with_suffix(".part")
        unfinished.write_bytes(msgspec.json.encode(body))
        unfinished.rename(file)
    return file


def compose_environment(site: Site) -> dict[str, str]:
    """What Compose sees of the daemon's own environment: where programs are, and its user's home."""
    own = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    # Other services of the project stand in files of their own.
    return own | {
        "DOCKER_HOST": trusted(site).url,
        "COMPOSE_IGNORE_ORPHANS": "true",
        "COMPOSE_PROGRESS": "quiet",
    }


def _clear(site: Site, environment: str, one: Seen) -> None:
    with engine(trusted(site).url, f"stop {one.name}") as client:
        remove(client, site, environment, one)


def _up(site: Site, cause: Cause, work: Workload, index: int, *, scale: int, recreate: bool) -> None:
    file = written(site, cause, work, index)
    said, project = trusted(site), project_of(site, home_of(site, work.environment))
    secret = service_environment(site, work, index)[1]
    ended = command.run(
        up_argv(said, project, file, work.service, scale=scale, recreate=recreate),
        timeout_s=UP_TIMEOUT_S,
        environment=compose_environment(site) | secret,
        directory=file.parent,
        keep="last",
    )
    if ended.timed_out:
        raise HostError(
            f"Compose did not bring {work.service} up within {UP_TIMEOUT_S:g} s", "see what it waits for"
        )
    if ended.code != 0:
        lines = ended.stderr.decode(errors="replace").strip().splitlines()
        raise refusal(f"bring {work.service} {work.target} up", 0, " ".join(lines[-3:])[-1000:])
