"""What the engine's one list of containers says: ours, sorted into instances, and strangers that have our names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Literal

from msgspec import Struct, field

from reconciler.drivers.labels import PREFIX, Mark, read_labels
from reconciler.model.codec import resolve_types
from reconciler.model.observation import Instance, Observation
from reconciler.model.target import Target

ASIDE = "-aside"
"""Ends the name of a stranger that a person let us put aside."""
IMAGE_LABEL = f"{PREFIX}image"
NETWORKS_LABEL = f"{PREFIX}networks"
GRACE_LABEL = f"{PREFIX}stop_grace"
ALIVE = frozenset({"running", "paused", "restarting"})


class Attached(Struct, frozen=True):
    address: str = field(default="", name="IPAddress")


class Attachments(Struct, frozen=True):
    networks: dict[str, Attached] | None = field(default=None, name="Networks")


class Port(Struct, frozen=True, rename="pascal"):
    public_port: int | None = None


class Listed(Struct, frozen=True, rename="pascal"):
    """One entry of `GET /containers/json`, as far as it matters here."""

    id: str
    names: tuple[str, ...] | None = None
    image: str = ""
    labels: dict[str, str] | None = None
    state: str = ""
    status: str = ""
    network_settings: Attachments = Attachments()
    ports: tuple[Port, ...] | None = None

    @property
    def name(self) -> str:
        """Its own name; those with another slash were given by links."""
        return next((name[1:] for name in self.names or () if name.count("/") == 1), self.id[:12])


resolve_types(list[Listed])


class Seen(Struct, frozen=True):
    """One container of ours."""

    id: str
    name: str
    mark: Mark
    state: str
    status: str
    image: str
    addresses: dict[str, str]
    labels: dict[str, str]

    @property
    def is_alive(self) -> bool:
        """It runs, or the engine will start it again."""
        return self.state in ALIVE

    @property
    def address(self) -> str:
        """On the network that it was started on; empty while it does not run."""
        first = self.labels.get(NETWORKS_LABEL, "").split(",")[0]
        return self.addresses.get(first, "")

    @property
    def drift(self) -> str:
        """What differs from what was made, as far as the list shows it."""
        own = name_of(self.mark)
        networks = set(filter(None, self.labels.get(NETWORKS_LABEL, "").split(",")))
        if self.name != own:
            return f"the container {own} was renamed to {self.name}"
        if self.image != self.labels.get(IMAGE_LABEL):
            return f"the container {own} runs another image: {self.image}"
        if self.state == "paused":
            return f"the container {own} is paused"
        if self.is_alive and self.addresses.keys() != networks:
            joined = ", ".join(sorted(self.addresses)) or "no network"
            return f"the container {own} is on {joined}, not on {', '.join(sorted(networks))}"
        return ""

    def instance(self) -> Instance | None:
        """What there is to report; None for one that does not run and that the engine will not start again: it is
        kept, or was stopped by hand."""
        if not self.is_alive:
            return None
        state, detail = state_of(self)
        return Instance(
            self.mark.index, self.mark.target, state, detail=detail, drift=self.drift, handle=self.id
        )


def containers(listed: Iterable[Listed], site: str, environments: Collection[str]) -> list[Seen]:
    """Those of ours in an environment (under each of its names), in order of service, index and target."""
    found = []
    for one in listed:
        mark = read_labels(one.labels or {})
        if mark is not None and mark.site == site and mark.environment in environments:
            networks = one.network_settings.networks or {}
            addresses = {name: attached.address for name, attached in networks.items()}
            found.append(
                Seen(one.id, one.name, mark, one.state, one.status, one.image, addresses, one.labels or {})
            )
    return sorted(
        found, key=lambda seen: (seen.mark.service, seen.mark.index, str(seen.mark.target), seen.id)
    )


def strangers(listed: Iterable[Listed], site: str, environments: Collection[str]) -> dict[str, list[Listed]]:
    """Containers that are not ours, and have a name that a service of the environment would have, by service."""
    names = "|".join(sorted(map(re.escape, environments)))
    pattern = re.compile(
        rf"(?:{names})[-_]([a-z0-9][a-z0-9-]*?)(?:[-_][0-9]+(?:_[0-9a-f]{{12}})?)?(?:{ASIDE})?"
    )
    found: dict[str, list[Listed]] = {}
    for one in listed:
        mark, match = read_labels(one.labels or {}), pattern.fullmatch(one.name)
        if match and (mark is None or mark.site != site):
            found.setdefault(match[1], []).append(one)
    return found


def observations(seen: Iterable[Seen], foreign: dict[str, list[Listed]]) -> dict[str, Observation]:
    """By service; one of which nothing runs is there only when a stranger has its name."""
    instances: dict[str, list[Instance]] = {}
    for one in seen:
        if instance := one.instance():
            instances.setdefault(one.mark.service, []).append(instance)
    standing = {
        service: [one for one in found if not one.name.endswith(ASIDE)] for service, found in foreign.items()
    }
    told = {service: foreign_of(found[0]) for service, found in standing.items() if found}
    return {
        service: Observation(service, tuple(instances.get(service, ())), told.get(service, ""))
        for service in sorted(instances.keys() | told.keys())
    }


def foreign_of(one: Listed) -> str:
    return f"the container {one.name} ({one.image}, {one.state}) was not made by UGS"


def name_of(mark: Mark) -> str:
    """Neither environments nor services have underscores: no two instances share a name."""
    return container_name(mark.environment, mark.service, mark.index, mark.target)


def container_name(environment: str, service: str, index: int, target: Target) -> str:
    return f"{environment}_{service}_{index}_{target.digest}"


def state_of(one: Seen) -> tuple[Literal["running", "starting", "crashed"], str]:
    """How one that is alive fares, and what the engine says of it."""
    if one.state == "restarting":
        return "crashed", one.status
    if "(unhealthy)" in one.status:
        return "crashed", f"the image's own health check fails: {one.status}"
    if "(health: starting)" in one.status:
        return "starting", f"the image's own health check has not answered yet: {one.status}"
    return "running", ""
