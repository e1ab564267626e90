"""What the engine's list of containers says of a Compose project."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from reconciler.drivers.base import Site
from reconciler.drivers.compose.project import project_of
from reconciler.drivers.docker.instances import home_of
from reconciler.drivers.docker.seen import (
    ALIVE,
    ASIDE,
    IMAGE_LABEL,
    Listed,
    Seen,
    containers,
    foreign_of,
    state_of,
    strangers,
)
from reconciler.drivers.labels import PREFIX
from reconciler.drivers.layout import names_of
from reconciler.drivers.mark import site_id
from reconciler.model.observation import Instance
from reconciler.model.target import Target

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
NUMBER_LABEL = "com.docker.compose.container-number"
INDEX_LABEL = f"{PREFIX}index"
ONEOFF_LABEL = "com.docker.compose.oneoff"


def ours(site: Site, environment: str, listed: list[Listed]) -> list[Seen]:
    """Ours, what runs first. Those that were made without an index are numbered from 0 within each target, in the order
    of Compose's own numbers."""
    numbered = [
        (int(labels[NUMBER_LABEL]), INDEX_LABEL in labels, replace(one, labels={INDEX_LABEL: "0", **labels}))
        for one in listed
        if (labels := one.labels or {}).get(NUMBER_LABEL, "").isdigit() and not _is_command(labels)
    ]
    site_name, names = site_id(site.state), names_of(site, environment)
    ranks: dict[tuple[str, Target], int] = {}
    found = []
    for _, has_index, entry in sorted(numbered, key=lambda each: (each[2].state not in ALIVE, each[0])):
        for one in containers([entry], site_name, names):
            if has_index:
                found.append(one)
                continue
            kind = (one.mark.service, one.mark.target)
            ranks[kind] = ranks.get(kind, -1) + 1
            found.append(replace(one, mark=replace(one.mark, index=ranks[kind])))
    return found


def foreign(site: Site, environment: str, listed: list[Listed]) -> dict[str, str]:
    """What is in the environment's project, or has a name as if it were, and was not made by us: by service."""
    told = dict[str, str]()
    for service, one in _strangers(site, environment, listed):
        told.setdefault(service, foreign_of(one))
    others = [
        one for one in listed if PROJECT_LABEL not in (one.labels or {}) and not one.name.endswith(ASIDE)
    ]
    named = strangers(others, site_id(site.state), names_of(site, environment))
    return {service: foreign_of(found[0]) for service, found in named.items()} | told


def strangers_of(site: Site, environment: str, service: str, listed: list[Listed]) -> list[Listed]:
    """The project's containers of a service that we did not make."""
    return [one for name, one in _strangers(site, environment, listed) if name == service]


def instance_of(one: Seen) -> Instance:
    state, detail = state_of(one)
    return Instance(one.mark.index, one.mark.target, state, detail=detail, drift=drift_of(one), handle=one.id)


def drift_of(one: Seen) -> str:
    """What differs from what was brought up, as far as the list shows it."""
    if one.image != one.labels.get(IMAGE_LABEL):
        return f"the container {one.name} runs another image: {one.image}"
    return f"the container {one.name} is paused" if one.state == "paused" else ""


def _strangers(site: Site, environment: str, listed: list[Listed]) -> Iterator[tuple[str, Listed]]:
    """The project's containers that we did not make, each with the service that it is of."""
    own = {one.id for one in ours(site, environment, listed)}
    project = project_of(site, home_of(site, environment))
    for one in listed:
        labels = one.labels or {}
        if labels.get(PROJECT_LABEL) == project and one.id not in own and not _is_command(labels):
            yield labels.get(SERVICE_LABEL, ""), one


def _is_command(labels: dict[str, str]) -> bool:
    return labels.get(ONEOFF_LABEL) == "True"
