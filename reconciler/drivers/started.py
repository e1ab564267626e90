"""What a service is started with on a machine: its command, port, environment and secrets."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from reconciler.drivers.base import Site
from reconciler.drivers.render import expand, instance_values
from reconciler.model.errors import ArtifactError, UgsError
from reconciler.model.release import Run, SecretName
from reconciler.model.target import Workload

INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""What a service gets of the daemon's own environment: enough to run, and none of its secrets."""


def run_of(work: Workload) -> Run:
    """Raises ArtifactError for a release that says nothing about running: this driver can never run it."""
    if work.release.run is None or not work.release.run.command:
        raise ArtifactError(f"{work.release.place}: run: its driver needs a command", "add run.command")
    return work.release.run


def port_of(work: Workload, index: int) -> int | None:
    return None if work.port is None else work.port + index


def service_environment(site: Site, work: Workload, values: dict[str, str]) -> dict[str, str]:
    """What the service sees: a little of ours, and the release's own with secrets resolved now."""
    return inherited() | own_environment(site, work, values)


def own_environment(site: Site, work: Workload, values: dict[str, str]) -> dict[str, str]:
    """The release's own, with secrets resolved now."""
    own: dict[str, str] = {}
    for name, value in (work.release.run or Run()).environment.items():
        if isinstance(value, SecretName):
            own[name] = site.secret(value.secret, work.environment, work.service)
        else:
            own[name] = expand(value, values, work)
    return own


def secrets_of(site: Site, work: Workload) -> tuple[str, ...]:
    """The secrets that a service was given: what it says must not carry them any further."""
    values = work.release.run.environment.values() if work.release.run else ()
    secrets = []
    for value in values:
        if isinstance(value, SecretName):
            with suppress(UgsError):  # gone meanwhile: there is nothing to compare with
                secrets.append(site.secret(value.secret, work.environment, work.service))
    return tuple(secrets)


def told_environment(work: Workload) -> dict[str, str]:
    """What every service is told of itself."""
    told = {
        "UGS_ENVIRONMENT": work.environment,
        "UGS_SERVICE": work.service,
        "UGS_VERSION": str(work.target.version),
    }
    if work.flags:
        told["UGS_FLAGS"] = json.dumps(work.flags, ensure_ascii=False, sort_keys=True)
    return told


def search_path(work: Workload) -> str:
    """Where a bare command name is looked for: the release's own PATH, or the daemon's."""
    own = run_of(work).environment.get("PATH")
    return own if isinstance(own, str) else inherited().get("PATH", os.defpath)


def command_file(work: Workload, directory: Path, index: int = 0) -> tuple[Path | None, bool]:
    """The file that the command names (None: a bare name that is not on the PATH), and whether it is the
    release's own."""
    values = instance_values(work, index, directory, port_of(work, index))
    name = expand(run_of(work).command[0], values, work)
    if "/" not in name:
        found = shutil.which(name, path=search_path(work))
        return (Path(found) if found else None), False
    path = Path(os.path.normpath(directory / name))
    return path, path.is_relative_to(directory) or not Path(name).is_absolute()


def inherited() -> dict[str, str]:
    """What a program gets to see of our own environment."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}
