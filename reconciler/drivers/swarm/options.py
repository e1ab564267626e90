"""What the environment's file and ugs.yaml say of the swarm, and what a service is called there."""

from __future__ import annotations

import re
from typing import Literal, TypeVar

from msgspec import Struct

from reconciler.drivers.base import Site
from reconciler.drivers.docker.options import container_of, networks_of
from reconciler.model.codec import convert, resolve_types
from reconciler.model.errors import HostError
from reconciler.model.target import Workload

T = TypeVar("T")
Publish = Literal["host", "ingress"]
Balance = Literal["vip", "dns"]
Order = Literal["stop-first", "start-first"]
HOST = "unix:///var/run/docker.sock"
NAME = re.compile(r"[a-z0-9](?:[-_a-z0-9]{0,61}[a-z0-9])?")
"""What Swarm takes as a service's name."""


class Ways(Struct, frozen=True, omit_defaults=True):
    """How instances are placed and reached; None is what holds for the environment, or by default.

    `publish`: a published port is open on the nodes that an instance runs on (`host`), or on all (`ingress`).
    `balance`: inside its networks a service's name stands for one address (`vip`), or for its instances' (`dns`).
    `order`: which of two instances goes first where the strategy leaves that open.
    """

    publish: Publish | None = None
    balance: Balance | None = None
    order: Order | None = None
    constraints: tuple[str, ...] | None = None


class Asked(Ways, frozen=True, omit_defaults=True):
    """`driver` of the environment's file, beside its kind. `services`: what differs for single ones."""

    services: dict[str, Ways] = {}


class Trusted(Struct, frozen=True):
    """`engines.swarm` of ugs.yaml, beside what it allows: where a manager is, and how it knows us."""

    host: str = HOST
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


class Layout(Struct, frozen=True):
    """How the instances of one service are placed and reached."""

    publish: Publish = "host"
    balance: Balance = "vip"
    order: Order | None = None
    constraints: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


resolve_types(Trusted, Asked)


def trusted(site: Site) -> Trusted:
    return convert(dict(site.engine), Trusted)


def layout_of(site: Site, work: Workload) -> Layout:
    """As its environment says, and the networks that its release names."""
    asked = convert(dict(site.options), Asked)
    own = asked.services.get(work.service, Ways())
    return Layout(
        publish=_first(own.publish, asked.publish, "host"),
        balance=_first(own.balance, asked.balance, "vip"),
        order=own.order or asked.order,
        constraints=_first(own.constraints, asked.constraints, ()),
        networks=tuple(name for name in networks_of(site, container_of(work)) if name != "bridge"),
    )


def name_of(environment: str, service: str) -> str:
    """What the service is called in the swarm. Raises HostError for what Swarm does not take as a name."""
    name = f"{environment}_{service}"
    if not NAME.fullmatch(name):
        raise HostError(
            f"Swarm takes no service of the name {name}: at most 63 characters, and no hyphen at the end",
            "give the environment or the service a shorter name",
        )
    return name


def _first(own: T | None, common: T | None, otherwise: T) -> T:
    if own is not None:
        return own
    return otherwise if common is None else common
