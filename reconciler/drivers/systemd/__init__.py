"""The systemd driver: every instance a unit of its own, which outlives the daemon and is started again at boot."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from reconciler.drivers import checks
from reconciler.drivers.alias import name_too
from reconciler.drivers.archive import artifact
from reconciler.drivers.base import Cause, Endpoint, Site, Surroundings
from reconciler.drivers.layout import (
    directory_of,
    environment_folder,
    service_folder,
    sweep,
)
from reconciler.drivers.machine import procfs
from reconciler.drivers.machine.ports import stranger
from reconciler.drivers.machine.usage import of_groups
from reconciler.drivers.render import instance_values
from reconciler.drivers.started import port_of, run_of, service_environment
from reconciler.drivers.systemd import journal, look, make
from reconciler.drivers.systemd.bus import manage
from reconciler.drivers.systemd.look import files_of, home_of
from reconciler.drivers.systemd.options import check_allowed, engine_of
from reconciler.drivers.systemd.sockets import probe_port
from reconciler.drivers.systemd.unit import base_of, split
from reconciler.drivers.trouble import host_trouble
from reconciler.model.observation import Observation, Usage
from reconciler.model.target import Workload

MANAGERS_GROUP = "init.scope"
restorable = artifact.restorable


def observe(site: Site, environment: str) -> dict[str, Observation]:
    """Every service of the environment of which systemd has a unit loaded: one call for all of them."""
    return manage(engine_of(site), partial(look.observe, site, environment))


def prepare(site: Site, work: Workload, revision: str) -> None:
    """Fetch, verify, unpack and render, and let the service's own user read what was made."""
    run_of(work)
    directory = artifact.prepare(site, work, revision)
    checks.check_command(site, work)
    with host_trouble(f"let others read {directory}"):
        artifact.make_readable(directory)


def preflight(site: Site, work: Workload) -> None:
    """Raise HostError for what the operator does not allow, a port that someone else holds, a full disk."""
    engine = engine_of(site)
    check_allowed(engine, work)
    checks.check_strategy(work)
    checks.check_program(site, work)
    checks.check_disk(site)
    checks.check_ports(work, lambda: _own(site, work))


def apply(site: Site, cause: Cause, work: Workload, upto: int) -> None:
    """Make it so, instance by instance stopped, rewritten and started; what runs the target already is left alone. With
    blue-green what ran before still runs, and both answer at the public port."""
    checks.check_ports(work, lambda: _own(site, work))
    beside = work.strategy == "blue-green"
    manage(engine_of(site), partial(make.make_so, site, cause, work, upto, beside=beside))


def settle(site: Site, work: Workload) -> None:
    """Stop what else of the service runs."""
    manage(engine_of(site), partial(make.settle, site, work))


def restore(site: Site, cause: Cause, good: Workload | None, *, environment: str, service: str) -> None:
    """The units' drop-ins flip back to `good`; None stops the service and takes its units away."""
    if good is None:
        manage(engine_of(site), partial(make.remove, site, environment, service))
    else:
        manage(engine_of(site), partial(make.make_so, site, cause, good, good.instances))


def rename(site: Site, old: str, new: str) -> None:
    """`new` becomes another name of the same folder; the units keep the first name, and their data with it."""
    name_too(environment_folder(site, old), new)


def endpoints(site: Site, work: Workload) -> tuple[Endpoint, ...]:
    """Each instance's own port on this machine; for one that is passed its sockets, the probe socket's."""
    directory, found = directory_of(site, work), []
    for index in range(work.instances):
        port = port_of(work, index)
        if run_of(work).socket == "pass":
            port = _probe_port(site, work, index)
        found.append(Endpoint(index, port, directory, instance_values(work, index, directory, port)))
    return tuple(found)


def surroundings(site: Site, work: Workload) -> Surroundings:
    """Beside the service, as the daemon's user; the service's data is where STATE_DIRECTORY says."""
    values = _values(site, work, 0)
    environment = service_environment(site, work, values)
    if engine_of(site).is_system:
        environment |= {
            "STATE_DIRECTORY": f"/var/lib/{base_of(home_of(site, work.environment), work.service)}"
        }
    return Surroundings(directory_of(site, work), environment, values)


def foreign_listener(site: Site, work: Workload, endpoint: Endpoint) -> str:
    """A sentence when a socket that a probe of 127.0.0.1 would reach is not the instance's."""
    if endpoint.port is None:
        return ""
    holder = stranger(
        endpoint.port, lambda: _own(site, work, endpoint.index), lambda listener: listener.on_loopback
    )
    return f"port {endpoint.port} is held by {holder}, not by {work.service}" if holder else ""


def usage(site: Site, handles: Collection[str]) -> dict[str, Usage]:  # noqa: ARG001  of this machine
    """By unit: all that is in its control group."""
    return of_groups(handles)


def logs(site: Site, environment: str, service: str, *, lines: int) -> list[str]:
    """The last lines of the journal, systemd's own about the service among them."""
    return journal.last_lines(engine_of(site), home_of(site, environment), service, lines)


def tidy(site: Site, environment: str, service: str, keep: frozenset[str]) -> None:
    """Remove the directories of targets that are neither kept nor running."""
    seen = observe(site, environment).get(service, Observation(service))
    running = {str(target) for target in seen.targets}
    with host_trouble(f"tidy {service}"):
        sweep(service_folder(site, environment, service), keep | running)


def _values(site: Site, work: Workload, index: int) -> dict[str, str]:
    return instance_values(work, index, directory_of(site, work), port_of(work, index))


def _probe_port(site: Site, work: Workload, index: int) -> int | None:
    """Of the side that is made for this very target."""
    files = files_of(site, work.environment, work.service)
    for slot in files.slots():
        mark = files.made_for(slot) if slot.index == index else None
        if mark is not None and mark.target == work.target:
            return probe_port(files, slot)
    return None


def _own(site: Site, work: Workload, index: int | None = None) -> set[int]:
    """The processes of the service's units (of one instance's), as the kernel's control groups say; for the whole
    service systemd itself too, where it listens for it."""
    home = home_of(site, work.environment)
    listens = index is None and bool(files_of(site, work.environment, work.service).sockets())

    def is_own(group: str) -> bool:
        found = split(group, home)
        if found is None:
            return listens and group == MANAGERS_GROUP
        return found[0] == work.service and index in (None, found[1].index)

    return procfs.in_control_group(is_own)
