"""Making containers and stopping them: each call finds by its labels what a former one left, and goes on from there."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from reconciler.drivers.base import Cause, Site
from reconciler.drivers.docker.body import Mounted, alias, body_of, mounts_of, service_environment
from reconciler.drivers.docker.client import engine
from reconciler.drivers.docker.files import forget_secrets, write_secrets
from reconciler.drivers.docker.options import container_of, networks_of, trusted
from reconciler.drivers.docker.seen import (
    ASIDE,
    GRACE_LABEL,
    Seen,
    container_name,
    containers,
    name_of,
    strangers,
)
from reconciler.drivers.layout import directory_of, environment_folder, names_of
from reconciler.drivers.mark import site_id
from reconciler.model.target import Workload

if TYPE_CHECKING:
    from reconciler.drivers.docker.session import Client

STOPS_AT_ONCE = 8
GRACE_S = 10


def ours(client: Client, site: Site, environment: str, service: str) -> list[Seen]:
    """All containers of a service that are ours, stopped ones too."""
    found = containers(client.listed(), site_id(site.state), names_of(site, environment))
    return [one for one in found if one.mark.service == service]


def home_of(site: Site, environment: str) -> str:
    """The name that the environment had first: its volumes keep it."""
    return environment_folder(site, environment).resolve().name


def is_wanted(one: Seen, work: Workload) -> bool:
    return one.mark.target == work.target and one.mark.index < work.instances


def ensure(client: Client, site: Site, cause: Cause, work: Workload, index: int, found: list[Seen]) -> None:
    """See that one instance runs, as it was made: one that was kept comes back, a changed one is put right.

    `found`: the service's containers.
    """
    there = [one for one in found if (one.mark.index, one.mark.target) == (index, work.target)]
    there.sort(key=lambda one: not one.is_alive)
    for copy in there[1:]:
        remove(client, site, work.environment, copy)
    for one in there[:1]:
        if _put_right(client, one):
            return
        remove(client, site, work.environment, one)
    make(client, site, cause, work, index)


def make(client: Client, site: Site, cause: Cause, work: Workload, index: int) -> None:
    """Create an instance and start it."""
    name = container_name(work.environment, work.service, index, work.target)
    variables, secret = service_environment(site, work, index)
    secrets: Path | None = None
    if secret and container_of(work).secrets == "files":
        secrets = write_secrets(site, work, name, secret)
        variables |= {f"{variable}_FILE": f"/run/secrets/{variable}" for variable in secret}
    else:
        variables |= secret
    body = body_of(site, cause, work, index, mounted(site, work, secrets), variables)
    made = client.create_container_from_config(body, name)["Id"]
    for network in networks_of(site, container_of(work))[1:]:
        client.connect_container_to_network(made, network, aliases=alias(work)["Aliases"])
    client.start(made)


def mounted(site: Site, work: Workload, secrets: Path | None) -> list[Mounted]:
    home = home_of(site, work.environment)
    return mounts_of(site, work, home=home, files=directory_of(site, work), secrets=secrets)


def keep(site: Site, stopping: Iterable[Seen]) -> None:
    """Stop containers, several at a time, and keep them as they are, so that they can be started again."""
    url, alive = trusted(site).url, [one for one in stopping if one.is_alive]
    if not alive:
        return
    with ThreadPoolExecutor(STOPS_AT_ONCE) as pool:
        list(pool.map(lambda one: _keep(url, one), alive))


def _keep(url: str, one: Seen) -> None:
    with engine(url, f"stop {one.name}") as client:
        _stop(client, one)


def _stop(client: Client, one: Seen) -> None:
    if one.state == "paused":
        client.unpause(one.id)
    grace_s = one.labels.get(GRACE_LABEL) or client.inspect_container(one.id)["Config"].get("StopTimeout")
    client.stop(one.id, timeout=int(grace_s or GRACE_S))


def remove(client: Client, site: Site, environment: str, one: Seen) -> None:
    """For good, with the volumes that have no name and the secrets that it was given."""
    if one.is_alive:
        _stop(client, one)
    client.remove_container(one.id, v=True, force=True)
    forget_secrets(site, environment, one.mark.service, name_of(one.mark))


def put_aside(client: Client, site: Site, environment: str, service: str) -> None:
    """Stop what is not ours and has the service's name: a person said so. It is kept as it is."""
    for one in _strangers(client, site, environment, service):
        if not one[1].endswith(ASIDE):
            client.rename(one[0], one[1] + ASIDE)
        client.stop(one[0], timeout=GRACE_S)


def bring_back(client: Client, site: Site, environment: str, service: str) -> None:
    """Start again what was put aside for a service that did not prove itself."""
    for identity, name in _strangers(client, site, environment, service):
        if name.endswith(ASIDE):
            client.rename(identity, name.removesuffix(ASIDE))
            client.start(identity)


def _strangers(client: Client, site: Site, environment: str, service: str) -> list[tuple[str, str]]:
    found = strangers(client.listed(), site_id(site.state), names_of(site, environment))
    return [(one.id, one.name) for one in found.get(service, [])]


def _put_right(client: Client, one: Seen) -> bool:
    """Whether a container that is there runs now as it was made; False when it must be made anew."""
    import docker

    own = name_of(one.mark)
    if one.name != own:
        client.rename(one.id, own)
        one = replace(one, name=own)
    if one.state == "paused":
        client.unpause(one.id)
        one = replace(one, state="running")
    if one.drift or one.is_alive:
        return not one.drift
    try:
        client.start(one.id)
    except docker.errors.APIError:  # its network or its files may be gone: a new one will tell
        return False
    return True
