"""The swarm driver: a service of a Docker Swarm for each of ours, asked of one of its managers through Docker's SDK."""

from __future__ import annotations

import shutil

from msgspec.structs import replace

from reconciler.drivers.alias import name_too
from reconciler.drivers.base import Cause, Endpoint, Site, Surroundings, measures_nothing
from reconciler.drivers.docker.body import image_of
from reconciler.drivers.docker.options import check_allowed
from reconciler.drivers.labels import target_in
from reconciler.drivers.layout import directory_of, environment_folder, is_complete, names_of, service_folder
from reconciler.drivers.swarm import checks, material
from reconciler.drivers.swarm.managers import PATIENCE_S, manager
from reconciler.drivers.swarm.reach import endpoints_of, lost_node
from reconciler.drivers.swarm.sides import of_target, sides
from reconciler.drivers.swarm.slots import observations, slots_of
from reconciler.drivers.swarm.update import end, make_so
from reconciler.drivers.swarm.update import settle as end_others
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import HostError
from reconciler.model.observation import Observation
from reconciler.model.target import Workload

usage = measures_nothing


def observe(site: Site, environment: str) -> dict[str, Observation]:
    """Every service of the environment, from the tasks that Swarm has of it: two calls for all of them."""
    with manager(site) as engine:
        services, tasks = engine.services(), engine.tasks()
    return observations(engine.id, environment, names_of(site, environment), services, tasks)


def prepare(site: Site, work: Workload, revision: str) -> None:  # noqa: ARG001  an image is in no revision
    """See that the registry has the image, and render the configuration that it has templates of."""
    check_allowed(site, work, "swarm")
    checks.check_words(site, work)
    with manager(site) as engine:
        engine.check_image(image_of(work), f"{work.release.place}: artifact.image")
        engine.render(work)


def preflight(site: Site, work: Workload) -> None:
    """Raise HostError for a swarm that could not run it: no such network, a port that is taken, too few nodes."""
    check_allowed(site, work, "swarm")
    checks.check_words(site, work)
    with manager(site) as engine:
        checks.check_swarm(engine, work)


def restorable(site: Site, work: Workload) -> str:
    """Empty when the rendered configuration is kept. The nodes that ran it have the image, and the registry has it."""
    if is_complete(directory_of(site, work), image_of(work)):
        return ""
    return f"nothing complete is kept of {work.service} {work.target} in {directory_of(site, work)}"


def apply(site: Site, cause: Cause, work: Workload, upto: int) -> None:
    """Make it so. Swarm replaces the instances by itself, in the manner of the strategy, and we count its tasks; with
    blue-green it makes a service beside the one that runs."""
    with manager(site, patience_s=PATIENCE_S) as engine:
        make_so(engine, cause, work, upto)


def settle(site: Site, work: Workload) -> None:
    """Remove the other side, if there is one."""
    with manager(site, patience_s=PATIENCE_S) as engine:
        end_others(engine, work)


def restore(site: Site, cause: Cause, good: Workload | None, *, environment: str, service: str) -> None:
    """Make it what it was, all at once; instances that were not replaced yet run on, and so does a side that still
    stands. None removes the service."""
    with manager(site, patience_s=PATIENCE_S) as engine:
        if good is None:
            end(engine, sides(engine, environment, service))
        else:
            make_so(engine, cause, replace(good, strategy="stop-start"), good.instances)


def rename(site: Site, old: str, new: str) -> None:
    """`new` becomes another name of the same folder: a service keeps the name and the labels that it was made with."""
    name_too(environment_folder(site, old), new)


def endpoints(site: Site, work: Workload) -> tuple[Endpoint, ...]:
    """Each instance where it runs; one that does not run yet nowhere."""
    with manager(site) as engine:
        there = sides(engine, work.environment, work.service)
        service = of_target(there, work.target) or next(iter(there), None)
        slots = slots_of(service, engine.tasks(), work.target) if service else []
        nodes = engine.nodes()
    return endpoints_of(work, slots, nodes)


def foreign_listener(site: Site, work: Workload, endpoint: Endpoint) -> str:  # noqa: ARG001  what every driver is asked
    """A sentence when it is the node that does not answer: an instance on a lost node must not fail its release."""
    return lost_node(endpoint)


def surroundings(site: Site, work: Workload) -> Surroundings:  # noqa: ARG001  what every driver is asked
    """Nothing of the release can be run beside a service that may be on any node; files that ask for it are refused
    when they are read."""
    raise HostError(
        f"{work.release.place}: the swarm driver runs no commands",
        "pin a release without migrations and backups",
    )


def logs(site: Site, environment: str, service: str, *, lines: int) -> list[str]:
    """The last lines of all instances, as far as the nodes' logging drivers can be read."""
    with manager(site) as engine:
        there = sides(engine, environment, service) if lines > 0 else []
        return [line for one in there for line in engine.last_lines(one, lines)][-lines:] if there else []


def tidy(site: Site, environment: str, service: str, keep: frozenset[str]) -> None:
    """Remove the secrets and configs that nothing refers to, and what was rendered for targets that are not kept."""
    with manager(site) as engine:
        material.tidy(engine, environment, service)
        there = sides(engine, environment, service)
    staying = keep | {str(target_in(one.labels)) for one in there}
    with host_trouble(f"tidy {service}"):
        for directory in service_folder(site, environment, service).glob("*/*"):
            digest = directory.name.lstrip(".").partition("-")[0]
            if f"{directory.parent.name}@{digest}" not in staying:
                shutil.rmtree(directory)
