"""The labels that all that UGS makes of containers carries: what runs says itself what it is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct

from reconciler.drivers.base import Cause, Site
from reconciler.drivers.mark import site_id
from reconciler.model.target import Target, Workload

PREFIX = "ugs."


class Mark(Struct, frozen=True):
    """What a container of ours says of itself. `site`: of which daemon's state folder it is."""

    site: str
    environment: str
    service: str
    index: int
    target: Target
    operation: str = ""


def labels_of(site: Site, cause: Cause, work: Workload, index: int | None = None) -> dict[str, str]:
    """For one instance; without an index for what stands for all of them."""
    values = {
        "site": site_id(site.state),
        "environment": work.environment,
        "service": work.service,
        **({} if index is None else {"index": str(index)}),
        "version": str(work.target.version),
        "target": work.target.digest,
        "operation": cause.operation,
        "revision": cause.revision,
    }
    return {PREFIX + name: value for name, value in values.items()}


def read_labels(labels: Mapping[str, str]) -> Mark | None:
    """None for what is not ours: without our labels, or with some that only look like them."""
    try:
        return Mark(
            site=labels[f"{PREFIX}site"],
            environment=labels[f"{PREFIX}environment"],
            service=labels[f"{PREFIX}service"],
            index=int(labels[f"{PREFIX}index"]),
            target=_target(labels[f"{PREFIX}version"], labels[f"{PREFIX}target"]),
            operation=labels.get(f"{PREFIX}operation", ""),
        )
    except (KeyError, ValueError):
        return None


def target_in(labels: Mapping[str, str]) -> Target | None:
    """The target that labels of ours name; None where they name none."""
    try:
        return _target(labels[f"{PREFIX}version"], labels[f"{PREFIX}target"])
    except (KeyError, ValueError):
        return None


@lru_cache(maxsize=4096)
def _target(version: str, digest: str) -> Target:
    """The same few again and again, in every look at what runs. Raises ValueError."""
    return Target.parse(f"{version}@{digest}")
