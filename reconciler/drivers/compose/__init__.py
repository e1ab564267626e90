"""The compose driver: a project an environment, each service brought up on its own, as the team's Compose file says."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from reconciler.drivers import checks
from reconciler.drivers.alias import name_too
from reconciler.drivers.archive import artifact
from reconciler.drivers.base import Cause, Endpoint, Site, Surroundings, hears_no_stranger
from reconciler.drivers.compose.file import read
from reconciler.drivers.compose.instances import (
    clear,
    clear_drifted,
    clear_strangers,
    compose_environment,
    ensure,
    found_of,
    is_alone,
    replace_alone,
    said_of,
    written,
)
from reconciler.drivers.compose.project import SAID, asked, project_of, run_argv, trusted
from reconciler.drivers.compose.seen import foreign, instance_of, ours
from reconciler.drivers.docker import NOWHERE, OBSERVE_TIMEOUT_S, has_image
from reconciler.drivers.docker.body import (
    ROOT,
    exec_prefix,
    image_of,
    inner_port,
    means_names,
    service_environment,
    values_of,
)
from reconciler.drivers.docker.client import engine, pull, registry_of
from reconciler.drivers.docker.instances import bring_back, home_of, is_wanted, put_aside
from reconciler.drivers.docker.ports import check_engine_disk
from reconciler.drivers.docker.read import merged
from reconciler.drivers.docker.seen import Seen
from reconciler.drivers.docker.usage import used
from reconciler.drivers.layout import (
    directory_of,
    environment_folder,
    is_complete,
    service_folder,
)
from reconciler.drivers.render import LOOPBACK
from reconciler.drivers.trouble import host_trouble
from reconciler.model.engines import ENGINES
from reconciler.model.errors import ArtifactError, HostError
from reconciler.model.observation import Instance, Observation, Usage
from reconciler.model.rollout import batches
from reconciler.model.target import Workload

if TYPE_CHECKING:
    from reconciler.drivers.docker.session import Client

foreign_listener = hears_no_stranger


def observe(site: Site, environment: str) -> dict[str, Observation]:
    """Every service of the environment's project: one list from the engine."""
    with engine(trusted(site).url, "list the containers", timeout_s=OBSERVE_TIMEOUT_S) as client:
        listed = client.listed()
    told = foreign(site, environment, listed)
    instances: dict[str, list[Instance]] = {}
    for one in sorted(ours(site, environment, listed), key=lambda one: one.mark.index):
        if one.is_alive:
            instances.setdefault(one.mark.service, []).append(instance_of(one))
    return {
        service: Observation(service, tuple(instances.get(service, ())), told.get(service, ""))
        for service in sorted(instances.keys() | told.keys())
    }


def prepare(site: Site, work: Workload, revision: str) -> None:
    """Check what the Compose file says of the service, keep that, and pull the image unless it is here."""
    directory, image = directory_of(site, work), image_of(work)
    service_environment(site, work, 0)
    if not is_complete(directory, image):
        said = read(_file(site, revision), asked(site).file, work.service, trusted(site))
        with host_trouble(f"prepare {work.service} {work.target}"):
            directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with artifact.workshop(directory) as shop:
                made = shop / "release"
                made.mkdir(mode=0o700)
                (made / SAID).write_bytes(msgspec.json.encode(said))
                artifact.complete(made, directory, image)
    with engine(trusted(site).url, f"get {image}") as client:
        if not has_image(client, image):
            place = f"{work.release.place}: artifact.image"
            pull(client, image, site.registries.get(registry_of(image)), place=place)


def preflight(site: Site, work: Workload) -> None:
    """Raise HostError for a full disk, or a strategy that the Compose file leaves no room for."""
    if work.strategy == "blue-green" and is_alone(said_of(site, work)):
        raise HostError(
            f"{work.place}: {work.service} cannot do blue-green: in {asked(site).file} it has `ports`, or an address "
            "of its own, which both sides cannot have",
            "write stop-start, or take them out of the file",
        )
    checks.check_disk(site)
    with engine(trusted(site).url, f"look whether {work.service} could start") as client:
        check_engine_disk(client)


def restorable(site: Site, work: Workload) -> str:
    """Empty when the engine has the image, and what the Compose file said is kept."""
    image, directory = image_of(work), directory_of(site, work)
    if not is_complete(directory, image):
        return f"nothing complete is kept of {work.service} {work.target} in {directory}"
    with engine(trusted(site).url, f"look for {image}") as client:
        return "" if has_image(client, image) else f"the engine does not have {image} any more"


def apply(site: Site, cause: Cause, work: Workload, upto: int) -> None:
    """Make it so. Where two containers of the service fit beside each other, new ones start beside the old ones, which
    go when the batch after theirs begins, or all is proven."""
    at_once, gives_way = work.strategy == "stop-start", is_alone(said_of(site, work))
    with engine(trusted(site).url, f"start {work.service} {work.target}") as client:
        _make_way(client, site, cause, work)
        if (at_once or gives_way) and work.instances == 1 and replace_alone(client, site, cause, work):
            return
        if cause.adopted:
            clear_strangers(client, site, work.environment, work.service)
        found = found_of(client, site, work.environment, work.service)
        others = _others(found, work, upto)
        if at_once:
            clear(site, work.environment, others)
        for index in range(upto):
            if gives_way and not at_once:
                clear(site, work.environment, [one for one in others if one.mark.index == index])
            ensure(client, site, cause, work, index)
    if gives_way and not at_once:
        clear(site, work.environment, [one for one in others if one.mark.index >= upto])
    elif work.strategy in {"rolling", "canary"}:
        proven = max((count for count in batches(work, ENGINES["compose"]) if count < upto), default=0)
        clear(site, work.environment, _others(found, work, proven))


def settle(site: Site, work: Workload) -> None:
    """Remove what else of the service there is."""
    with engine(trusted(site).url, f"stop what {work.service} {work.target} replaced") as client:
        found = found_of(client, site, work.environment, work.service)
    clear(site, work.environment, [one for one in found if not is_wanted(one, work)])


def restore(site: Site, cause: Cause, good: Workload | None, *, environment: str, service: str) -> None:
    """Remove what is not `good`, then see that `good` runs; None removes all of the service, and no volume."""
    with engine(trusted(site).url, f"bring {service} back") as client:
        if good is not None:
            _make_way(client, site, cause, good)
            if good.instances == 1 and replace_alone(client, site, cause, good):
                return
        found = found_of(client, site, environment, service)
        clear(site, environment, [one for one in found if good is None or not is_wanted(one, good)])
        if good is None:
            bring_back(client, site, environment, service)
            return
        for index in range(good.instances):
            ensure(client, site, cause, good, index)


def rename(site: Site, old: str, new: str) -> None:
    """`new` becomes another name of the same folder; the project keeps its own."""
    name_too(environment_folder(site, old), new)


def endpoints(site: Site, work: Workload) -> tuple[Endpoint, ...]:
    """Each instance at its own address, on the first of its networks."""
    with engine(
        trusted(site).url, f"look where {work.service} answers", timeout_s=OBSERVE_TIMEOUT_S
    ) as client:
        found = ours(site, work.environment, client.listed())
    running = {
        one.mark.index: one
        for one in found
        if one.is_alive and (one.mark.service, one.mark.target) == (work.service, work.target)
    }
    return tuple(_endpoint(site, work, index, running.get(index)) for index in range(work.instances))


def surroundings(site: Site, work: Workload) -> Surroundings:
    """A container of its own for each command, as Compose makes it of the service."""
    plain, secret = service_environment(site, work, 0)
    data = site.state.resolve() / "backups" / work.environment / work.service
    with host_trouble(f"make {data}"):
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = written(site, Cause("commands"), work, 0)
    said, project = trusted(site), project_of(site, home_of(site, work.environment))
    prefix = run_argv(said, project, file, work, names=means_names(work), data=data)
    return Surroundings(
        ROOT, compose_environment(site) | plain | secret, values_of(work, 0, LOOPBACK), prefix
    )


def usage(site: Site, handles: Collection[str]) -> dict[str, Usage]:
    """By container, of a whole list at once."""
    return used(trusted(site).url, handles)


def logs(site: Site, environment: str, service: str, *, lines: int) -> list[str]:
    """The last lines of its containers, in the order of their times."""
    with engine(trusted(site).url, f"read the log of {service}", timeout_s=OBSERVE_TIMEOUT_S) as client:
        found = ours(site, environment, client.listed())
        return merged(client, [one for one in found if one.mark.service == service], lines)


def tidy(site: Site, environment: str, service: str, keep: frozenset[str]) -> None:
    """Remove the files of targets that are neither kept nor running. Images are Compose's users' own to prune."""
    with engine(trusted(site).url, f"tidy {service}") as client:
        found = ours(site, environment, client.listed())
    running = {str(one.mark.target) for one in found if one.mark.service == service}
    with host_trouble(f"tidy {service}"):
        for directory in service_folder(site, environment, service).glob("*/*"):
            digest = directory.name.lstrip(".").partition("-")[0]
            if f"{directory.parent.name}@{digest}" not in keep | running:
                shutil.rmtree(directory)


def _file(site: Site, revision: str) -> bytes:
    try:
        return site.blob(revision, asked(site).file)
    except ArtifactError as error:  # no release is to blame for it
        raise HostError(error.message, error.remedy) from error


def _make_way(client: Client, site: Site, cause: Cause, work: Workload) -> None:
    """See that what is not ours may be replaced, and take away what was changed of ours.

    Raises HostError where a person must say so first."""
    said = foreign(site, work.environment, client.listed()).get(work.service)
    if said and not cause.adopted:
        raise HostError(
            f"{said}, and Compose would replace it", f"say `ugs adopt {work.environment} {work.service}`"
        )
    if cause.adopted:  # what has no labels of Compose's
        put_aside(client, site, work.environment, work.service)
    clear_drifted(client, site, work.environment, work.service)


def _others(found: list[Seen], work: Workload, upto: int) -> list[Seen]:
    """What gives way to the first `upto` instances; all else once these are all there are."""
    return [
        one for one in found if not is_wanted(one, work) and (one.mark.index < upto or upto >= work.instances)
    ]


def _endpoint(site: Site, work: Workload, index: int, one: Seen | None) -> Endpoint:
    address = next(filter(None, one.addresses.values()), "") if one else ""
    values, port = values_of(work, index, address or NOWHERE), inner_port(work)
    return Endpoint(index, port, ROOT, values, exec_prefix(site, one.name) if one else ())
