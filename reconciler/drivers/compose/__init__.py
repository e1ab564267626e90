"""The compose driver: a project an environment, each service brought up on its own, as the team's Compose file says."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from reconciler import command
from reconciler.drivers import checks
from reconciler.drivers.alias import name_too
from reconciler.drivers.archive import artifact
from reconciler.drivers.base import (
    Cause,
    Endpoint,
    Site,
    Surroundings,
    hears_no_stranger,
    settle_nothing,
)
from reconciler.drivers.compose.file import Said, read
from reconciler.drivers.compose.project import (
    SAID,
    UP,
    asked,
    body_of,
    project_of,
    run_argv,
    trusted,
    up_argv,
)
from reconciler.drivers.compose.seen import drift_of, foreign, instance_of, ours
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
from reconciler.drivers.docker.client import engine, pull, refusal, registry_of
from reconciler.drivers.docker.instances import bring_back, home_of, put_aside, remove
from reconciler.drivers.docker.ports import check_engine_disk
from reconciler.drivers.docker.read import merged
from reconciler.drivers.docker.seen import Seen
from reconciler.drivers.layout import (
    directory_of,
    environment_folder,
    is_complete,
    service_folder,
)
from reconciler.drivers.render import LOOPBACK
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import ArtifactError, HostError
from reconciler.model.observation import Instance, Observation
from reconciler.model.target import Workload

UP_TIMEOUT_S = 300.0

foreign_listener = hears_no_stranger
settle = settle_nothing


def observe(site: Site, environment: str) -> dict[str, Observation]:
    """Every service of the environment's project: one list from the engine."""
    with engine(trusted(site).url, "list the containers", timeout_s=OBSERVE_TIMEOUT_S) as client:
        listed = client.listed()
    told = foreign(site, environment, listed)
    instances: dict[str, list[Instance]] = {}
    for one in ours(site, environment, listed):
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
    """Raise HostError for a full disk, or a container of the project's that is not ours."""
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


def apply(site: Site, cause: Cause, work: Workload, upto: int) -> None:  # noqa: ARG001  all at once
    """Bring the service up: Compose replaces what differs, and leaves alone what does not."""
    with engine(trusted(site).url, f"look what runs of {work.service}") as client:
        listed = client.listed()
        said = foreign(site, work.environment, listed).get(work.service)
        if said and not cause.adopted:
            raise HostError(
                f"{said}, and Compose would replace it", f"say `ugs adopt {work.environment} {work.service}`"
            )
        if cause.adopted:  # what has no labels of Compose's; the rest Compose replaces
            put_aside(client, site, work.environment, work.service)
        for one in ours(site, work.environment, listed):
            if one.mark.service == work.service and drift_of(one):  # Compose would leave it as it is
                remove(client, site, work.environment, one)
    _up(site, cause, work)


def restore(site: Site, cause: Cause, good: Workload | None, *, environment: str, service: str) -> None:
    """Bring `good` up in the place of what runs; None removes the service's containers, and no volume."""
    if good is not None:
        apply(site, cause, good, good.instances)
        return
    with engine(trusted(site).url, f"stop {service}") as client:
        for one in ours(site, environment, client.listed()):
            if one.mark.service == service:
                remove(client, site, environment, one)
        bring_back(client, site, environment, service)


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
    file = _written(site, Cause("commands"), work)
    said, project = trusted(site), project_of(site, home_of(site, work.environment))
    prefix = run_argv(said, project, file, work, names=means_names(work), data=data)
    return Surroundings(ROOT, _environment(site) | plain | secret, values_of(work, 0, LOOPBACK), prefix)


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


def _up(site: Site, cause: Cause, work: Workload) -> None:
    file = _written(site, cause, work)
    said, project = trusted(site), project_of(site, home_of(site, work.environment))
    secret = service_environment(site, work, 0)[1]
    ended = command.run(
        up_argv(said, project, file, work),
        timeout_s=UP_TIMEOUT_S,
        environment=_environment(site) | secret,
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


def _written(site: Site, cause: Cause, work: Workload) -> Path:
    """The file that Compose gets. A repair takes the one that is there: another operation would be another
    container."""
    directory = directory_of(site, work)
    file = directory / UP
    if file.exists() and not cause.revision:
        return file
    with host_trouble(f"write {file}"):
        said = msgspec.json.decode((directory / SAID).read_bytes(), type=Said)
        body = body_of(site, cause, work, said, project_of(site, home_of(site, work.environment)))
        unfinished = file.with_suffix(".part")
        unfinished.write_bytes(msgspec.json.encode(body))
        unfinished.rename(file)
    return file


def _environment(site: Site) -> dict[str, str]:
    """What Compose sees of the daemon's own environment: where programs are, and its user's home."""
    own = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    # Other services of the project stand in files of their own.
    return own | {
        "DOCKER_HOST": trusted(site).url,
        "COMPOSE_IGNORE_ORPHANS": "true",
        "COMPOSE_PROGRESS": "quiet",
    }


def _endpoint(site: Site, work: Workload, index: int, one: Seen | None) -> Endpoint:
    address = next(filter(None, one.addresses.values()), "") if one else ""
    values, port = values_of(work, index, address or NOWHERE), inner_port(work)
    return Endpoint(index, port, ROOT, values, exec_prefix(site, one.name) if one else ())
