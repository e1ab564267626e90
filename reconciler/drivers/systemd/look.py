"""What systemd says that runs: units into observations."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, Literal

from msgspec.structs import replace

from reconciler.drivers.base import Site
from reconciler.drivers.layout import environment_folder, names_of
from reconciler.drivers.mark import Mark, site_id
from reconciler.drivers.systemd.bus import Manager, Unit
from reconciler.drivers.systemd.files import Files
from reconciler.drivers.systemd.options import engine_of
from reconciler.drivers.systemd.unit import parse_description, pattern_of, plain_description, split
from reconciler.model.observation import Instance, Observation

DETAILS_MAX = 50
"""Of so many units that crashed the evidence is asked for, at a call each."""
CLD_EXITED = 1


def home_of(site: Site, environment: str) -> str:
    """The environment's first name, which its units are called by."""
    return environment_folder(site, environment).resolve().name


def files_of(site: Site, environment: str, service: str) -> Files:
    """The files of a service's units, which are called by the environment's first name."""
    engine = engine_of(site)
    home = home_of(site, environment)
    return Files(engine.folder, site_id(site.state), home, service, engine.is_system)


async def observe(site: Site, environment: str, manager: Manager) -> dict[str, Observation]:
    """Every service of which a unit is loaded, by name."""
    names, any_files = names_of(site, environment), files_of(site, environment, "")
    home = any_files.environment
    instances: dict[str, list[Instance]] = {}
    strangers: dict[str, str] = {}
    crashed = 0
    for unit in await manager.units([pattern_of(home)]):
        named = split(unit.name, home)
        if named is None or unit.load == "not-found":
            continue
        service, slot = named
        files = replace(any_files, service=service)
        mark, state = mark_of(unit, files), _state(unit)
        if mark is None or mark.environment not in names:
            if not is_blank(unit, files):
                strangers[service] = stranger(unit)
        elif state is not None:
            crashed += state == "crashed"
            detail = ""
            if state == "crashed" and crashed <= DETAILS_MAX:
                detail = evidence(await manager.properties(unit))
            found = Instance(
                slot.index, mark.target, state, detail=detail, drift=files.drift(slot), handle=unit.name
            )
            instances.setdefault(service, []).append(found)
    return {
        service: Observation(
            service,
            tuple(sorted(instances.get(service, ()), key=lambda instance: instance.index)),
            foreign=strangers.get(service, ""),
        )
        for service in sorted(instances.keys() | strangers.keys())
    }


def mark_of(unit: Unit, files: Files) -> Mark | None:
    """What the unit's own description says that it is; None for one that is not this daemon's."""
    mark = parse_description(unit.description)
    return mark if mark is not None and mark.site == files.site else None


def is_blank(unit: Unit, files: Files) -> bool:
    """Whether it is our template and no more: nothing was made of the instance yet, or no longer."""
    return unit.description == plain_description(files.environment, files.service, files.site)


def stranger(unit: Unit) -> str:
    """A sentence about a unit that has a name of ours, and is not."""
    other = parse_description(unit.description)
    whose = f"another UGS daemon's ({other.site})" if other else "not UGS's"
    return f"the unit {unit.name} ({unit.active}) is {whose}"


def evidence(properties: Mapping[str, Any]) -> str:
    """How the service last ended, from the properties of its unit."""
    status, restarts = properties.get("ExecMainStatus", 0), properties.get("NRestarts", 0)
    match properties.get("Result"):
        case "timeout":
            how = "it did not become ready, or did not end, in time"
        case "watchdog":
            how = "it did not answer the watchdog in time"
        case "oom-kill":
            how = "it was killed: out of memory"
        case "resources":
            how = "systemd could not make what it needs to run"
        case "protocol":
            how = "it ended without ever having said that it was ready"
        case _ if properties.get("ExecMainCode") == CLD_EXITED:
            how = f"it ended with status {status}"
        case _:
            how = f"it was ended by {_signal_name(status)}" if status else "it ended"
    said = properties.get("StatusText")
    return f"{how}{f', saying {said!r}' if said else ''} (restarts: {restarts})"


def _state(unit: Unit) -> Literal["running", "starting", "crashed"] | None:
    """None when nothing of it runs, nor is about to."""
    if unit.is_waiting:
        return "crashed"
    if unit.active == "activating":
        return "starting"
    return None if unit.active == "inactive" else "running"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
