"""What is handed to Compose, as values: the file with one service in it, and the argv that brings it up."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from msgspec import Struct

from reconciler.drivers.base import Cause, Site
from reconciler.drivers.compose.file import Said
from reconciler.drivers.docker.body import image_of, service_environment
from reconciler.drivers.docker.options import Trusted
from reconciler.drivers.docker.seen import IMAGE_LABEL
from reconciler.drivers.labels import labels_of
from reconciler.model.codec import convert, resolve_types
from reconciler.model.release import Run
from reconciler.model.target import Workload

SAID = "said.json"


class ComposeTrusted(Trusted, frozen=True):
    """`engines.compose` of ugs.yaml."""

    compose: tuple[str, ...] = ("docker", "compose")
    """The program of Compose, version 2."""


class Asked(Struct, frozen=True):
    """What the environment's file says: where the Compose file stands, and the project's name if not its own."""

    file: str
    project: str | None = None


resolve_types(ComposeTrusted, Asked)


def trusted(site: Site) -> ComposeTrusted:
    return convert(dict(site.engine), ComposeTrusted)


def asked(site: Site) -> Asked:
    return convert(dict(site.options), Asked)


def project_of(site: Site, home: str) -> str:
    """The name of the environment's project; a renamed environment keeps the one that it had first."""
    return asked(site).project or home


def file_of(directory: Path, index: int) -> Path:
    """Where the Compose file of one instance stands, in its release's directory."""
    return directory / f"up.{index}.json"


def body_of(
    site: Site, cause: Cause, work: Workload, said: Said, project: str, index: int = 0
) -> dict[str, Any]:
    """The Compose file of one instance. Secrets stand in it by name alone: Compose takes them from its environment."""
    plain, secret = service_environment(site, work, index)
    run = work.release.run or Run()
    labels = labels_of(site, cause, work, index)
    service = {
        "restart": "unless-stopped",
        "stop_grace_period": f"{math.ceil(run.stop_grace_s)}s",
        **said.service,
        "image": image_of(work),
        "labels": {**_pairs(said.service.get("labels")), **labels, IMAGE_LABEL: image_of(work)},
        "environment": {
            **_pairs(said.service.get("environment")),
            **{name: _escaped(value) for name, value in plain.items()},
            **dict.fromkeys(secret),
        },
    }
    if run.command:
        service["command"] = [_escaped(word) for word in run.command]
    return {
        "name": project,
        "services": {work.service: service},
        "networks": said.networks,
        "volumes": said.volumes,
    }


def compose_argv(said: ComposeTrusted, project: str, file: Path) -> tuple[str, ...]:
    return (
        *said.compose,
        "--project-name",
        project,
        "--project-directory",
        str(file.parent),
        "--file",
        str(file),
    )


def up_argv(
    said: ComposeTrusted, project: str, file: Path, service: str, *, scale: int, recreate: bool
) -> tuple[str, ...]:
    """Have so many containers of one service, and touch nothing else of the project. `recreate`: those that are there
    and differ from the file are replaced; otherwise they are left as they are."""
    return (
        *compose_argv(said, project, file),
        "up",
        "--detach",
        "--no-deps",
        "--no-build",
        "--pull",
        "never",
        *(() if recreate else ("--no-recreate",)),
        "--scale",
        f"{service}={scale}",
        service,
    )


def run_argv(
    said: ComposeTrusted, project: str, file: Path, work: Workload, *, names: list[str], data: Path
) -> tuple[str, ...]:
    """What runs a command in a container of its own, as the service has it."""
    base = compose_argv(said, project, file)
    words = [word for name in sorted(names) for word in ("--env", name)]
    mount = f"{data}:{data}"
    return (
        *base,
        "run",
        "--rm",
        "--no-deps",
        "-T",
        "--entrypoint",
        "",
        "--volume",
        mount,
        *words,
        work.service,
    )


def _pairs(value: object) -> dict[str, Any]:
    """Labels or variables, whichever way Compose lets them be written."""
    if isinstance(value, dict):
        return dict(value)
    items = value if isinstance(value, list) else []
    return {
        name: (text if equals else None) for name, equals, text in (str(one).partition("=") for one in items)
    }


def _escaped(text: str) -> str:
    return text.replace("$", "$$")
