"""What must be true of the swarm before anything that runs is touched."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.drivers.base import Cause, Site
from reconciler.drivers.docker.options import container_of
from reconciler.drivers.labels import PREFIX
from reconciler.drivers.swarm.body import Before, Given, is_published, secrets_of, spec_of
from reconciler.drivers.swarm.managers import Manager
from reconciler.drivers.swarm.options import layout_of
from reconciler.drivers.swarm.slots import CRASHES_MIN
from reconciler.drivers.swarm.wire import Service
from reconciler.model.errors import ArtifactError, HostError
from reconciler.model.target import Workload


def check_words(site: Site, work: Workload) -> None:
    """Raise for what Swarm cannot do at all, whatever its state, and for secrets that are not granted."""
    layout = replace(layout_of(site, work), networks=())
    spec_of(site, Cause(""), work, work.instances, layout=layout, given=Given(), before=Before())
    for secret in secrets_of(work).values():
        site.secret(secret, work.environment, work.service)
    if container_of(work).publish == "loopback":
        raise ArtifactError(
            f"{work.release.place}: run.container.publish: Swarm has no loopback that all instances share",
            "write host, or none, in a new release",
        )


def check_swarm(engine: Manager, work: Workload) -> None:
    """Raise HostError for networks that are not there, a port that is taken, too few nodes, or too short a memory."""
    layout = layout_of(engine.site, work)
    engine.networks(layout.networks)
    if engine.history() < CRASHES_MIN:
        raise HostError(
            "the swarm remembers too few tasks to tell a crash loop",
            "let it keep more: docker swarm update --task-history-limit 5",
        )
    if not is_published(work):
        return
    if layout.publish == "ingress":
        check_ingress(engine.services(), engine.id, work)
        return
    ready = [node for node in engine.nodes().values() if node.is_ready]
    if work.instances > len(ready):
        raise HostError(
            f"{work.place}: {work.instances} instances of {work.service} need a node each for port {work.port}, "
            f"and {len(ready)} are ready",
            "add nodes, pin fewer instances, or publish by ingress",
        )


def check_ingress(services: list[Service], site: str, work: Workload) -> None:
    """Raise HostError when another service has the port on all nodes."""
    for service in services:
        ours = (site, work.service) == tuple(
            service.labels.get(f"{PREFIX}{key}") for key in ("site", "service")
        )
        ports = service.spec.get("EndpointSpec", {}).get("Ports") or ()
        taken = (one for one in ports if one.get("PublishMode", "ingress") == "ingress")
        if not ours and any(one.get("PublishedPort") == work.port for one in taken):
            raise HostError(
                f"{work.place}: port {work.port} of {work.service} is taken by the service {service.name}",
                "stop that, or pin another port",
            )
