"""Making a service so, and seeing that it becomes so: what runs is counted task by task, never believed."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from reconciler.drivers.base import Cause
from reconciler.drivers.labels import PREFIX
from reconciler.drivers.swarm.body import Before, pause_s_of, spec_of
from reconciler.drivers.swarm.managers import Conflict, Manager
from reconciler.drivers.swarm.material import given
from reconciler.drivers.swarm.options import layout_of
from reconciler.drivers.swarm.sides import of_target, place, sides
from reconciler.drivers.swarm.slots import Slot, crashed, foreign, landed, refused, slots_of, unplaced
from reconciler.drivers.swarm.wire import Node, Service, Task
from reconciler.model.errors import HostError
from reconciler.model.target import Target, Workload

HOSTS_REMEDY = "see to the nodes: docker node ls, docker service ps"
WRITES_MAX = 20
"""Swarm itself writes to a service that it updates, each time in between what we read and what we write."""
RESUMES_MAX = 3
CALM_S = 10.0
"""An update that Swarm stopped is resumed, so many times, when all that it replaced has run for so long: what stopped
it was a single end, which may have been a node's. Until then no further instance is put at risk."""
STALL_S = 30.0
"""For how long an update may bring nothing about before the probes judge what there is."""
PULL_S = 900.0
"""The same while a node fetches the image."""
GONE_S = 30.0
"""What instances of a removed service get beyond their grace."""


class Look(Struct, frozen=True):
    """One look at a service: what is asked of Swarm, and what has come of it."""

    service: Service
    slots: list[Slot]
    nodes: dict[str, Node]


def stranger(services: Iterable[Service], name: str, site: str) -> Service | None:
    """What has the name that a service is to have, and is not ours, be it another UGS's."""
    return next(
        (one for one in services if one.name == name and one.labels.get(f"{PREFIX}site") != site), None
    )


def make_so(engine: Manager, cause: Cause, work: Workload, upto: int) -> None:
    """Ask Swarm for it, and wait for as long as it gets on with it. What has become of it then, the probes judge.

    Raises HostError for what keeps the swarm from running it that is no fault of the release.
    """
    if work.strategy == "stop-start":  # a side that was left over would run on beside it
        there = sides(engine, work.environment, work.service)
        end(engine, [one for one in there if one is not place(work, there)[0]])
    write(engine, cause, work, upto)
    wait(engine, cause, work, upto)


def write(engine: Manager, cause: Cause, work: Workload, upto: int) -> None:
    """Make the service, or make it so. Asked for what is there already, Swarm replaces nothing.

    Raises HostError for a service of the name that is not ours, unless a person has it taken over.
    """
    site, layout = engine.site, layout_of(engine.site, work)
    things = given(engine, work, layout.networks)
    for _ in range(WRITES_MAX):
        found, name = place(work, sides(engine, work.environment, work.service))
        if found is None:
            found = stranger(engine.services(), name, engine.id)
            if found is not None and not cause.adopted:
                raise HostError(
                    foreign(found),
                    f"remove it, or have it taken over: ugs adopt {work.environment} {work.service}",
                )
        spec = spec_of(
            site,
            cause,
            work,
            upto,
            layout=layout,
            given=things,
            before=_before(engine, found, name, work.target),
        )
        try:
            engine.write(spec, found)
            return
        except Conflict:
            engine.pause()
    raise HostError(f"{work.service} is being changed all the time by someone else", "see who does")


def wait(engine: Manager, cause: Cause, work: Workload, upto: int) -> None:
    """Until the first `upto` instances run, some keep failing, or nothing moves any more."""
    best, moved_s, calm_s, resumed = 0, engine.now_s(), engine.now_s(), 0
    while True:
        look = _look(engine, work)
        if look is None:
            return  # someone removed or changed it meanwhile: that is for the next pass to see
        done = landed(look.slots, work.target)
        if done >= upto or crashed(look.slots, work.target):
            return
        if done > best:
            best, moved_s = done, engine.now_s()
        stalled = engine.now_s() - moved_s > _stall_s(look.slots, work)
        _check_nodes(look, work, stalled=stalled)
        if look.service.update.state != "paused" or done < sum(_has(slot, work) for slot in look.slots):
            calm_s = engine.now_s()
        elif engine.now_s() - calm_s > CALM_S and resumed < RESUMES_MAX:
            resumed, moved_s = resumed + 1, engine.now_s()
            write(engine, cause, work, upto)
            continue
        if stalled:
            return
        engine.pause()


def _check_nodes(look: Look, work: Workload, *, stalled: bool) -> None:
    trouble = refused(look.slots, work.target, look.nodes)
    if stalled and not trouble:
        trouble = unplaced(look.slots, work.target, look.nodes)
    if trouble:
        raise HostError(f"{work.place}: {work.service} {work.target.version}: {trouble}", HOSTS_REMEDY)


def _has(slot: Slot, work: Workload) -> bool:
    return slot.head(work.target) is not None


def settle(engine: Manager, work: Workload) -> None:
    """`work` is proven: the other side goes."""
    there = sides(engine, work.environment, work.service)
    mine = of_target(there, work.target)
    if mine is not None:
        end(engine, [one for one in there if one is not mine])


def end(engine: Manager, going: Iterable[Service]) -> None:
    """Remove services of ours, and wait until their instances have ended."""
    for found in going:
        grace_s = found.grace_s + GONE_S
        engine.remove(found)
        begun_s = engine.now_s()
        while running := _running(engine, found):
            if engine.now_s() - begun_s > grace_s:
                raise HostError(
                    f"{len(running)} instances of {found.name} do not end",
                    "look at the nodes that they are on",
                )
            engine.pause()


def _running(engine: Manager, service: Service) -> list[Task]:
    """What is left of a removed service on nodes that are there."""
    nodes = engine.nodes()
    return [
        task
        for task in engine.tasks()
        if task.service_id == service.id
        and task.is_up
        and (node := nodes.get(task.node_id)) is not None
        and node.status.state == "ready"
    ]


def _look(engine: Manager, work: Workload) -> Look | None:
    service = of_target(sides(engine, work.environment, work.service), work.target)
    if service is None:
        return None
    return Look(service, slots_of(service, engine.tasks(), work.target), engine.nodes())


def _before(engine: Manager, found: Service | None, name: str, target: Target) -> Before:
    """What the specification keeps of the one that there is."""
    if found is None:
        return Before(name=name)
    template = found.spec.get("TaskTemplate", {})
    same = (task for task in engine.tasks() if task.service_id == found.id and task.target == target)
    newest = max(same, key=lambda task: task.created_at, default=None)
    return Before(
        name=found.name,
        replicas=found.replicas,
        forced=int(template.get("ForceUpdate", 0)),
        labels=newest.spec.container.labels if newest else None,
    )


def _stall_s(slots: list[Slot], work: Workload) -> float:
    run = work.release.run
    patience_s = STALL_S + (run.stop_grace_s if run else 0.0)
    if work.strategy == "rolling":
        patience_s += pause_s_of(work)
    heads = [head for slot in slots if (head := slot.head(work.target))]
    return PULL_S if any(head.status.state == "preparing" for head in heads) else patience_s
