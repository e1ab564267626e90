"""The command driver: a team's own program observes, applies and restores, for whatever engine it knows.

What is seen decides, never what the program says it did: after every `apply` and `restore` it is asked what runs.
"""

from __future__ import annotations

import time

from reconciler.clock import SystemClock
from reconciler.drivers.alias import name_too
from reconciler.drivers.archive import artifact
from reconciler.drivers.base import (
    Cause,
    Endpoint,
    Site,
    Surroundings,
    hears_no_stranger,
    measures_nothing,
)
from reconciler.drivers.command.contract import (
    Apply,
    Logged,
    Logs,
    Observe,
    Observed,
    Part,
    Restore,
    Seen,
    Settle,
    Where,
    Work,
)
from reconciler.drivers.command.program import Program, options_of, program_of
from reconciler.drivers.labels import Mark, labels_of, read_labels
from reconciler.drivers.layout import (
    directory_of,
    environment_folder,
    is_complete,
    names_of,
    service_folder,
    sweep,
)
from reconciler.drivers.mark import site_id
from reconciler.drivers.render import expand, instance_values
from reconciler.drivers.started import own_environment, port_of, secrets_of, told_environment
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import HostError
from reconciler.model.observation import Instance, Observation
from reconciler.model.release import Run
from reconciler.model.target import Workload

APPEAR_TIMEOUT_S = 30.0
"""How long an engine may take to show what it has been told."""
APPEAR_POLL_S = 0.5
LINES_MAX = 10_000

usage = measures_nothing
foreign_listener = hears_no_stranger


def observe(site: Site, environment: str) -> dict[str, Observation]:
    """One run of the program. What ended, and is not started again, does not run."""
    program = program_of(site, environment)
    seen, answer = _look(program, site, environment)
    foreign = {one.service: one.what for one in answer.foreign}
    instances: dict[str, list[Instance]] = {}
    for mark, one in seen:
        if one.state != "ended":
            detail, drift = program.clear(one.detail), program.clear(one.drift)
            instances.setdefault(mark.service, []).append(
                Instance(mark.index, mark.target, one.state, one.pid, one.started_at, detail, drift)
            )
    return {
        service: Observation(
            service,
            tuple(sorted(instances.get(service, ()), key=lambda one: (one.index, str(one.target)))),
            program.clear(foreign.get(service, "")),
        )
        for service in sorted(instances.keys() | foreign.keys())
    }


def prepare(site: Site, work: Workload, revision: str) -> None:
    """Fetch, verify and unpack an archive; an image is the engine's to fetch."""
    program_of(site, work.environment)
    if work.release.artifact.archive is not None:
        artifact.prepare(site, work, revision)
    work_of(site, Cause(""), work)  # what cannot be filled in is said before anything is touched


def preflight(site: Site, work: Workload) -> None:
    """Whether it may start now, only its engine knows; but what the program cannot do is not asked of it.

    Raises HostError."""
    program = program_of(site, work.environment)
    if work.strategy == "blue-green" and not _look(program, site, work.environment)[1].settles:
        raise HostError(
            f"{work.place}: the program {program.name} does not have two versions beside each other",
            "pin another strategy, or let it say `settles` (docs/drivers/command.md)",
        )


def restorable(site: Site, work: Workload) -> str:
    """Empty when the release's directory is kept, complete, or there is none."""
    archive, directory = work.release.artifact.archive, directory_of(site, work)
    if archive is None or is_complete(directory, archive.sha256):
        return ""
    return f"nothing complete is kept of {work.service} {work.target} in {directory}"


def apply(site: Site, cause: Cause, work: Workload, upto: int) -> None:
    """Have the program make it so, and see that it is. With blue-green what ran before still runs."""
    call = Apply(
        where=where_of(site, work.environment),
        service=work.service,
        adopted=cause.adopted,
        upto=upto,
        work=work_of(site, cause, work),
        beside=work.strategy == "blue-green",
    )
    _carry_out(site, call, work, upto, secrets_of(site, work))


def settle(site: Site, work: Workload) -> None:
    """Have the program end what else of the service runs, where it can have two versions beside each other."""
    seen, answer = _look(program_of(site, work.environment), site, work.environment)
    if answer.settles and _others(seen, work, work.instances):
        call = Settle(
            where=where_of(site, work.environment), service=work.service, work=work_of(site, Cause(""), work)
        )
        _carry_out(site, call, work, work.instances, secrets_of(site, work))


def restore(site: Site, cause: Cause, good: Workload | None, *, environment: str, service: str) -> None:
    """Have the program stop whatever is not `good`, and see that `good` runs, or nothing."""
    call = Restore(
        where=where_of(site, environment),
        service=service,
        adopted=cause.adopted,
        work=work_of(site, cause, good) if good else None,
    )
    _carry_out(site, call, good, good.instances if good else 0, secrets_of(site, good) if good else ())


def rename(site: Site, old: str, new: str) -> None:
    """What runs keeps its labels: the program is told every name that the environment had."""
    name_too(environment_folder(site, old), new)


def endpoints(site: Site, work: Workload) -> tuple[Endpoint, ...]:
    """Each instance's own port, on the host that the environment's file names. With blue-green where the program says
    that the instance is; one of which it says nothing yet is left out."""
    host = options_of(site).host
    places = {index: (host, port_of(work, index)) for index in range(work.instances)}
    if work.strategy == "blue-green":
        seen, _ = _look(program_of(site, work.environment), site, work.environment)
        places = {
            mark.index: (one.host or host, port_of(work, mark.index) if one.port is None else one.port)
            for mark, one in seen
            if (mark.service, mark.target) == (work.service, work.target)
        }
    directory = directory_of(site, work)
    return tuple(
        Endpoint(index, port, directory, instance_values(work, index, directory, port, at))
        for index, (at, port) in sorted(places.items())
    )


def surroundings(_site: Site, work: Workload) -> Surroundings:
    """Raises HostError: where the service runs, only its program knows."""
    raise HostError(
        f"{work.release.place}: the command driver runs no commands of a release", "let the program run them"
    )


def logs(site: Site, environment: str, service: str, *, lines: int) -> list[str]:
    """The last lines, as the program tells them."""
    program = program_of(site, environment)
    count = min(lines, LINES_MAX)
    call = Logs(where=where_of(site, environment), service=service, lines=count)
    answer = program.ask(call, Logged, directory=site.state)
    return [program.clear(line) for line in answer.lines[-count:]] if count > 0 else []


def tidy(site: Site, environment: str, service: str, keep: frozenset[str]) -> None:
    """Remove the directories of targets that are neither kept nor running."""
    seen = observe(site, environment).get(service)
    running = {str(target) for target in seen.targets} if seen else set()
    with host_trouble(f"tidy {service}"):
        sweep(service_folder(site, environment, service), keep | running)


def _look(program: Program, site: Site, environment: str) -> tuple[list[tuple[Mark, Seen]], Observed]:
    """Every instance of ours, and all that was answered. What has no labels of ours, or another daemon's, counts for
    nothing."""
    where = where_of(site, environment)
    answer = program.ask(Observe(where=where), Observed, directory=site.state)
    marked = [(mark, seen) for seen in answer.instances if (mark := read_labels(seen.labels))]
    ours = [
        (mark, seen) for mark, seen in marked if mark.site == where.site and mark.environment in where.names
    ]
    return ours, answer


def _carry_out(
    site: Site, call: Apply | Settle | Restore, work: Workload | None, upto: int, secrets: tuple[str, ...]
) -> None:
    program, environment = program_of(site, call.where.environment), call.where.environment
    folder = service_folder(site, environment, call.service) / "errands"
    trouble = program.carry_out(call, folder=folder, secrets=secrets)
    clock = SystemClock()
    deadline_s = clock.monotonic() + APPEAR_TIMEOUT_S
    beside = isinstance(call, Apply) and call.beside
    while wrong := _wrong(_look(program, site, environment)[0], call.service, work, upto, beside=beside):
        if trouble is not None:
            raise trouble
        if clock.monotonic() > deadline_s:
            raise HostError(
                f"the program {program.name} says that it is done with {call.service}, but {wrong}",
                "look at what it did: what runs counts, not what it says",
            )
        time.sleep(APPEAR_POLL_S)


def _wrong(
    seen: list[tuple[Mark, Seen]], service: str, work: Workload | None, upto: int, *, beside: bool = False
) -> str:
    """What of what is seen is not as it was to be made; empty when nothing is. What has ended was started, and whether
    that is well is for the probes to say. `beside`: other versions may run."""
    instances = [(mark, one.state != "ended") for mark, one in seen if mark.service == service]
    if work is None:
        left = [str(mark.index) for mark, runs in instances if runs]
        return f"{', '.join(left)} of it runs" if left else ""
    there = {mark.index for mark, _ in instances if mark.target == work.target}
    if lacking := sorted(set(range(upto)) - there):
        return f"{', '.join(map(str, lacking))} of {work.target} is not there"
    others = [] if beside else _others(seen, work, upto)
    return f"{', '.join(others)} runs still" if others else ""


def _others(seen: list[tuple[Mark, Seen]], work: Workload, upto: int) -> list[str]:
    """What runs of the service in the place of the first `upto` instances, or, where these are all, beside them."""
    return [
        f"{mark.index} of {mark.target}"
        for mark, one in seen
        if mark.service == work.service
        and one.state != "ended"
        and (mark.index < upto or upto == work.instances)
        and (mark.target != work.target or mark.index >= work.instances)
    ]


def where_of(site: Site, environment: str) -> Where:
    """On whose behalf the program is asked."""
    names = tuple(sorted(names_of(site, environment)))
    return Where(site_id(site.state), environment, names, options_of(site).options)


def work_of(site: Site, cause: Cause, work: Workload) -> Work:
    """What is to run, filled in for every instance, with its secrets."""
    directory = directory_of(site, work)
    run = work.release.run or Run()
    parts = []
    for index in range(work.instances):
        port = port_of(work, index)
        values = instance_values(work, index, directory, port)
        parts.append(
            Part(
                index=index,
                labels=labels_of(site, cause, work, index),
                port=port,
                command=tuple(expand(word, values, work) for word in run.command),
                environment=own_environment(site, work, values) | told_environment(work),
            )
        )
    return Work(
        version=str(work.target.version),
        image=work.release.artifact.image,
        directory=str(directory) if work.release.artifact.archive else None,
        instances=tuple(parts),
        config=work.config,
        flags=work.flags,
        stop_grace_s=run.stop_grace_s,
    )
