"""What the operator says of systemd in ugs.yaml, and how far a release may go with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from reconciler.drivers.base import Site
from reconciler.model.codec import resolve_types
from reconciler.model.errors import HostError
from reconciler.model.release import SystemdRun
from reconciler.model.target import Workload

SYSTEM_UNITS = Path("/etc/systemd/system")


class Engine(Struct, frozen=True):
    """`engines.systemd` of ugs.yaml. What is empty is systemd's own default for the scope."""

    scope: Literal["system", "user"] = "system"
    bus: str = ""
    units: str = ""
    journal: str = ""
    users: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    """What lies in these folders may be made writable."""
    capabilities: tuple[str, ...] = ()
    relax: tuple[str, ...] = ()

    @property
    def is_system(self) -> bool:
        return self.scope == "system"

    @property
    def folder(self) -> Path:
        """Where unit files stand."""
        if self.units:
            return Path(self.units)
        return SYSTEM_UNITS if self.is_system else Path.home() / ".config/systemd/user"


resolve_types(Engine)


def engine_of(site: Site) -> Engine:
    return msgspec.convert(dict(site.engine), Engine)


def run_options(work: Workload) -> SystemdRun:
    run = work.release.run
    return run.systemd if run is not None and run.systemd is not None else SystemdRun()


def check_allowed(engine: Engine, work: Workload) -> None:
    """Raise HostError, naming the key of ugs.yaml, for what a release asks for and the operator does not allow."""
    wanted, place = run_options(work), work.release.place
    asked = {
        "users": [wanted.user] if wanted.user is not None and wanted.user not in engine.users else [],
        "paths": [path for path in wanted.writable if not _is_within(path, engine.paths)],
        "capabilities": sorted(set(wanted.capabilities) - set(engine.capabilities)),
        "relax": sorted(set(wanted.relax) - set(engine.relax)),
    }
    for key, values in asked.items():
        if values:
            raise HostError(
                f"{place}: run.systemd: this machine does not allow {', '.join(values)}",
                f"allow it under engines.systemd.{key} in ugs.yaml, or leave it out of a new release",
            )


def _is_within(path: str, roots: tuple[str, ...]) -> bool:
    return any(Path(os.path.normpath(path)).is_relative_to(os.path.normpath(root)) for root in roots)
