"""The process driver: services as processes of this machine, each kept by a shim that outlives the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import ExitStack

from reconciler.clock import SystemClock
from reconciler.drivers import checks
from reconciler.drivers.alias import name_too
from reconciler.drivers.archive import artifact
from reconciler.drivers.base import Cause, Endpoint, Site, Surroundings
from reconciler.drivers.layout import (
    directory_of,
    environment_folder,
    folder_of,
    log_name,
    names_of,
    read_record,
    service_folder,
    sweep,
)
from reconciler.drivers.machine import procfs
from reconciler.drivers.machine.ports import stranger
from reconciler.drivers.machine.usage import of_families
from reconciler.drivers.mark import site_id
from reconciler.drivers.process.group import Group, groups, stop
from reconciler.drivers.process.instance import Held, hold, launch
from reconciler.drivers.process.sockets import PortTaken
from reconciler.drivers.process.tail import last_lines
from reconciler.drivers.render import instance_values
from reconciler.drivers.started import port_of, run_of, service_environment
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import HostError
from reconciler.model.observation import Observation, Usage
from reconciler.model.target import Workload

START_TIMEOUT_S = 30.0
RETRY_S = 0.05
restorable = artifact.restorable


def observe(site: Site, environment: str) -> dict[str, Observation]:
    """Every service of the environment of which an instance runs, or crashed and waits for its shim."""
    seen: dict[str, Observation] = {}
    for service, found in groups(site, environment).items():
        instances = tuple(instance for group in found if (instance := group.instance()) is not None)
        if instances:
            seen[service] = Observation(service, instances)
    return seen


def prepare(site: Site, work: Workload, revision: str) -> None:
    """Fetch, verify, unpack and render, and see that the release has the command that it names."""
    run_of(work)
    artifact.prepare(site, work, revision)
    checks.check_command(site, work)


def preflight(site: Site, work: Workload) -> None:
    """Raise HostError for a port that someone else holds, a full disk, or a program that is not installed."""
    checks.check_strategy(work)
    checks.check_program(site, work)
    checks.check_disk(site)
    checks.check_ports(work, lambda: _pids(site, work))


def apply(site: Site, cause: Cause, work: Workload, upto: int) -> None:
    """Make it so. With blue-green what ran before still runs, and both answer at the public port."""
    checks.check_ports(work, lambda: _pids(site, work))
    _make_so(site, cause, work, upto, beside=work.strategy == "blue-green")


def settle(site: Site, work: Workload) -> None:
    """Stop what else of the service runs."""
    stop(_others(site, work, work.instances))


def restore(site: Site, cause: Cause, good: Workload | None, *, environment: str, service: str) -> None:
    """Stop whatever is not `good`, then see that `good` runs; None stops the service altogether."""
    if good is None:
        stop(lambda: groups(site, environment, service).get(service, []))
    else:
        _make_so(site, cause, good, good.instances, beside=False)


def rename(site: Site, old: str, new: str) -> None:
    """`new` becomes another name of the same folder: what runs knows its files by the name it was started under."""
    name_too(environment_folder(site, old), new)


def endpoints(site: Site, work: Workload) -> tuple[Endpoint, ...]:
    """Each instance's own port; for one that is passed its sockets, the probe socket's."""
    directory = directory_of(site, work)
    found: list[Endpoint] = []
    for index in range(work.instances):
        port = port_of(work, index)
        if run_of(work).socket == "pass":
            port = read_record(folder_of(site, work), index, work.target).probe_port
        found.append(Endpoint(index, port, directory, instance_values(work, index, directory, port)))
    return tuple(found)


def surroundings(site: Site, work: Workload) -> Surroundings:
    """As the first instance sees them."""
    directory = directory_of(site, work)
    values = instance_values(work, 0, directory, port_of(work, 0))
    return Surroundings(directory, service_environment(site, work, values), values)


def foreign_listener(site: Site, work: Workload, endpoint: Endpoint) -> str:
    """A sentence when a socket that a probe of 127.0.0.1 would reach is not the instance's."""
    if endpoint.port is None:
        return ""

    holder = stranger(
        endpoint.port, lambda: _pids(site, work, endpoint.index), lambda listener: listener.on_loopback
    )
    return f"port {endpoint.port} is held by {holder}, not by {work.service}" if holder else ""


def usage(site: Site, handles: Collection[str]) -> dict[str, Usage]:  # noqa: ARG001  of this machine
    """By main process: it, and all below it."""
    return of_families(handles)


def logs(site: Site, environment: str, service: str, *, lines: int) -> list[str]:
    """The last lines; of several instances each under its number, the one that wrote last at the end."""
    with host_trouble(f"read the log of {service}"):
        return last_lines(service_folder(site, environment, service) / "logs", lines)


def tidy(site: Site, environment: str, service: str, keep: frozenset[str]) -> None:
    """Remove the directories, locks and sockets of targets that are neither kept nor running."""
    folder = service_folder(site, environment, service)
    running = {str(group.target) for group in groups(site, environment, service).get(service, [])}
    with host_trouble(f"tidy {service}"):
        kept = {text.rpartition("@")[2] for text in keep | running}
        sweep(folder, keep | running)
        for file in (*folder.glob("*.lock"), *folder.glob("*.sock")):
            if file.name.split(".")[1] not in kept:
                file.unlink(missing_ok=True)


def _make_so(site: Site, cause: Cause, work: Workload, upto: int, *, beside: bool) -> None:
    """Start what lacks and stop what is too much, in the order that the release's sockets allow."""
    if reason := restorable(site, work):
        raise HostError(reason, "let it be prepared again")
    others = _others(site, work, upto)
    if run_of(work).socket == "none":
        stop(others)
    clock = SystemClock()
    deadline_s = clock.monotonic() + START_TIMEOUT_S
    while lacking := _lacking(site, work, upto):
        if clock.monotonic() > deadline_s:
            raise HostError(
                f"instances {lacking} of {work.service} {work.target} did not start in {START_TIMEOUT_S:g} s",
                f"read {folder_of(site, work) / log_name(lacking[0])}",
            )
        try:
            _start(site, cause, work, lacking, first=None if beside else others)
        except PortTaken:
            if not others():
                raise
            stop(others)  # they listen by themselves, or lost their shim: they cannot hand the socket on
    if not beside:
        stop(others)


def _start(
    site: Site, cause: Cause, work: Workload, indexes: list[int], *, first: Callable[[], list[Group]] | None
) -> None:
    """Take every lock and socket, stop `first`, and only then start: connections queue meanwhile."""
    with ExitStack() as stack:
        taken: dict[int, Held] = {}
        for index in indexes:
            held = stack.enter_context(hold(site, work, index))
            if held is not None:
                taken[index] = held
        # With the locks in our hands nobody else starts anything: look once more at what is running already.
        still_lacking = _lacking(site, work, max(indexes) + 1)
        if first is not None:
            stop(first)
        for index, held in taken.items():
            if index in still_lacking:
                launch(site, cause.operation, work, index, held)
    if len(taken) < len(indexes):
        time.sleep(RETRY_S)  # another shim has the lock: it starts the service soon, or ends


def _pids(site: Site, work: Workload, index: int | None = None) -> set[int]:
    """The processes of the service; with an index, those of that instance of this very target."""
    ours = procfs.processes(site_id(site.state), names_of(site, work.environment), work.service)
    if index is None:
        return {process.pid for process in ours}
    wanted = (index, work.target)
    return {process.pid for process in ours if (process.mark.index, process.mark.target) == wanted}


def _running(site: Site, work: Workload) -> list[Group]:
    return groups(site, work.environment, work.service).get(work.service, [])


def _is_wanted(group: Group, work: Workload) -> bool:
    return group.target == work.target and group.index < work.instances


def _others(site: Site, work: Workload, upto: int) -> Callable[[], list[Group]]:
    """What of the service is not `work`, each time one looks; what is left of a dead instance too.

    Of those that are not replaced yet, none.
    """
    return lambda: [
        group
        for group in _running(site, work)
        if (group.index < upto or upto == work.instances)
        and (not _is_wanted(group, work) or (group.main is None and group.shim is None))
    ]


def _lacking(site: Site, work: Workload, upto: int) -> list[int]:
    kept = {group.index for group in _running(site, work) if _is_wanted(group, work) and group.is_kept}
    return [index for index in range(upto) if index not in kept]
