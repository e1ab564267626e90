"""The docker driver: each instance a container of its own, made, stopped and found through Docker's SDK."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.drivers import checks
from reconciler.drivers.alias import name_too
from reconciler.drivers.base import Cause, Endpoint, Site, Surroundings, hears_no_stranger
from reconciler.drivers.docker import files
from reconciler.drivers.docker.body import (
    ROOT,
    around,
    exec_prefix,
    image_of,
    inner_port,
    published_port,
    service_environment,
    values_of,
)
from reconciler.drivers.docker.client import engine, pull, registry_of
from reconciler.drivers.docker.instances import (
    bring_back,
    ensure,
    is_wanted,
    keep,
    mounted,
    ours,
    put_aside,
    remove,
)
from reconciler.drivers.docker.options import check_allowed, container_of, trusted
from reconciler.drivers.docker.ports import check_engine_disk, check_networks, check_ports
from reconciler.drivers.docker.read import merged
from reconciler.drivers.docker.seen import Seen, containers, observations, strangers
from reconciler.drivers.docker.usage import used
from reconciler.drivers.layout import (
    directory_of,
    environment_folder,
    is_complete,
    names_of,
    service_folder,
)
from reconciler.drivers.mark import site_id
from reconciler.drivers.render import LOOPBACK
from reconciler.drivers.trouble import host_trouble
from reconciler.model.engines import ENGINES
from reconciler.model.observation import Observation, Usage
from reconciler.model.rollout import batches
from reconciler.model.target import Workload

if TYPE_CHECKING:
    from reconciler.drivers.docker.session import Client

OBSERVE_TIMEOUT_S = 10
NOWHERE = "absent.invalid"
"""Stands for the address of what does not run: it never resolves, so that nobody else is asked instead."""

foreign_listener = hears_no_stranger


def observe(site: Site, environment: str) -> dict[str, Observation]:
    """Every service of the environment of which a container runs or is restarted: one list from the engine."""
    with engine(trusted(site).url, "list the containers", timeout_s=OBSERVE_TIMEOUT_S) as client:
        listed = client.listed()
    site_name, names = site_id(site.state), names_of(site, environment)
    return observations(containers(listed, site_name, names), strangers(listed, site_name, names))


def prepare(site: Site, work: Workload, revision: str) -> None:  # noqa: ARG001  an image is in no revision
    """Pull the image, unless it is here, and render the configuration that it has templates of."""
    check_allowed(site, work)
    service_environment(site, work, 0)
    image, place = image_of(work), f"{work.release.place}: artifact.image"
    with engine(trusted(site).url, f"get {image}") as client:
        if not has_image(client, image):
            pull(client, image, site.registries.get(registry_of(image)), place=place)
        files.render(client, site, work)


def preflight(site: Site, work: Workload) -> None:
    """Raise HostError for a port that someone else holds, a network that is not there, or a full disk."""
    check_allowed(site, work)
    checks.check_disk(site)
    with engine(trusted(site).url, f"look whether {work.service} could start") as client:
        check_engine_disk(client)
        check_networks(client, site, work)
        check_ports(client, site, work)


def restorable(site: Site, work: Workload) -> str:
    """Empty when the engine has the image, and the rendered configuration is kept."""
    image, directory = image_of(work), directory_of(site, work)
    if not is_complete(directory, image):
        return f"nothing complete is kept of {work.service} {work.target} in {directory}"
    with engine(trusted(site).url, f"look for {image}") as client:
        return "" if has_image(client, image) else f"the engine does not have {image} any more"


def apply(site: Site, cause: Cause, work: Workload, upto: int) -> None:
    """Make it so. Where every instance has an address of its own, new ones start beside the old ones, which are
    stopped as soon as the batch after theirs begins, or all is proven: what fails never took anything away."""
    with engine(trusted(site).url, f"start {work.service} {work.target}") as client:
        if cause.adopted:
            put_aside(client, site, work.environment, work.service)
        found = ours(client, site, work.environment, work.service)
        others = _others(found, work, upto)
        if work.strategy == "stop-start":
            keep(site, others)
        for index in range(upto):
            if _gives_way(work):
                keep(site, (one for one in others if one.mark.index == index))
            ensure(client, site, cause, work, index, found)
    if _gives_way(work):
        keep(site, (one for one in others if one.mark.index >= upto))
    elif work.strategy != "stop-start":
        proven = max((count for count in batches(work, ENGINES["docker"]) if count < upto), default=0)
        keep(site, _others(found, work, proven))


def settle(site: Site, work: Workload) -> None:
    """Stop what else of the service runs."""
    with engine(trusted(site).url, f"stop what {work.service} {work.target} replaced") as client:
        found = ours(client, site, work.environment, work.service)
    keep(site, (one for one in found if not is_wanted(one, work)))


def restore(site: Site, cause: Cause, good: Workload | None, *, environment: str, service: str) -> None:
    """Stop whatever is not `good`, then see that `good` runs; None stops the service altogether."""
    with engine(trusted(site).url, f"bring {service} back") as client:
        found = ours(client, site, environment, service)
        keep(site, (one for one in found if good is None or not is_wanted(one, good)))
        if good is None:
            bring_back(client, site, environment, service)
            return
        for index in range(good.instances):
            ensure(client, site, cause, good, index, found)


def rename(site: Site, old: str, new: str) -> None:
    """`new` becomes another name of the same folder: containers keep the labels that they were made with."""
    name_too(environment_folder(site, old), new)


def endpoints(site: Site, work: Workload) -> tuple[Endpoint, ...]:
    """Each instance at its own address, or at the host's port that is published for it."""
    with engine(
        trusted(site).url, f"look where {work.service} answers", timeout_s=OBSERVE_TIMEOUT_S
    ) as client:
        found = ours(client, site, work.environment, work.service)
    running = {one.mark.index: one for one in found if one.is_alive and is_wanted(one, work)}
    return tuple(_endpoint(site, work, index, running.get(index)) for index in range(work.instances))


def surroundings(site: Site, work: Workload) -> Surroundings:
    """A container of its own for each command, as the first instance would have it."""
    plain, secret = service_environment(site, work, 0)
    data = site.state.resolve() / "backups" / work.environment / work.service
    with host_trouble(f"make {data}"):
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return around(site, work, mounted(site, work, None), plain | secret, data=data)


def usage(site: Site, handles: Collection[str]) -> dict[str, Usage]:
    """By container, of a whole list at once."""
    return used(trusted(site).url, handles)


def logs(site: Site, environment: str, service: str, *, lines: int) -> list[str]:
    """The last lines of all its containers, of stopped ones too, in the order of their times."""
    with engine(trusted(site).url, f"read the log of {service}", timeout_s=OBSERVE_TIMEOUT_S) as client:
        return merged(client, ours(client, site, environment, service), lines)


def tidy(site: Site, environment: str, service: str, keep: frozenset[str]) -> None:
    """Remove the containers, files and images of targets that are neither kept nor running."""
    with engine(trusted(site).url, f"tidy {service}") as client:
        found = ours(client, site, environment, service)
        staying = keep | {str(one.mark.target) for one in found if one.is_alive}
        going = [one for one in found if str(one.mark.target) not in staying]
        for one in going:
            remove(client, site, environment, one)
        for image in {one.image for one in going} - {one.image for one in found if one not in going}:
            _remove_image(client, image)
    with host_trouble(f"tidy {service}"):
        for directory in service_folder(site, environment, service).glob("*/*"):
            digest = directory.name.lstrip(".").partition("-")[0]
            version = directory.parent.name
            if version != "secrets" and f"{version}@{digest}" not in staying:
                shutil.rmtree(directory)


def _others(found: list[Seen], work: Workload, upto: int) -> list[Seen]:
    """What gives way to the first `upto` instances; all else once these are all there are."""
    return [
        one for one in found if not is_wanted(one, work) and (one.mark.index < upto or upto >= work.instances)
    ]


def _gives_way(work: Workload) -> bool:
    """Whether each old instance must go before its successor: both would be published at one port of the host."""
    return work.strategy in {"rolling", "canary"} and container_of(work).publish != "none"


def _endpoint(site: Site, work: Workload, index: int, one: Seen | None) -> Endpoint:
    port = published_port(work, index)
    address = (LOOPBACK if port is not None else one.address) if one else ""
    values = values_of(work, index, address or NOWHERE)
    port = port if port is not None else inner_port(work)
    if port is not None:
        values["port"] = str(port)
    return Endpoint(index, port, ROOT, values, exec_prefix(site, one.name) if one else ())


def has_image(client: Client, image: str) -> bool:
    import docker

    try:
        client.inspect_image(image)
    except docker.errors.ImageNotFound:
        return False
    return True


def _remove_image(client: Client, image: str) -> None:
    """Unless something else uses it."""
    import docker

    with suppress(docker.errors.APIError):
        client.remove_image(image)
