"""What a manifest says of a service's container, beyond what its schema can tell."""

from __future__ import annotations

from typing import Any

from reconciler.model.findings import Findings
from reconciler.model.release import Release


def check_container(found: Findings, data: dict[str, Any]) -> None:
    """Only an image runs in one, and each of its mounts is of one kind."""
    container = data["run"].get("container")
    if container is not None and "image" not in data["artifact"]:
        message = "only an image runs in a container"
        found.add(("run", "container"), message, "add `artifact.image`, or remove this")
    for index, mount in enumerate((container or {}).get("mounts", [])):
        if ("volume" in mount) == ("path" in mount):
            message = "a mount is either a `volume` or a `path` of the host"
            found.add(("run", "container", "mounts", index), message, "name one of the two")


def is_published(release: Release) -> bool:
    """Whether a port of the host leads to it, so that two versions cannot stand side by side."""
    container = release.run.container if release.run else None
    return container is not None and container.publish != "none"
