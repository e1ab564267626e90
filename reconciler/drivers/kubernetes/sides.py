"""Which Deployment a service lives in, and which comes beside it: the sides of blue-green and of a canary.

What the cluster has decides, never our memory. A side is known by the target of its template, and is as old as its
Deployment: the one that was there first has been proven, unless our own Service leads to the other already.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from msgspec import Struct

from reconciler.clock import SystemClock
from reconciler.drivers.kubernetes import fields, marks
from reconciler.drivers.kubernetes.rollout import Held, Kind
from reconciler.drivers.kubernetes.session import Work
from reconciler.model.engines import ENGINES
from reconciler.model.errors import HostError, TransientError
from reconciler.model.rollout import batches
from reconciler.model.target import Target, Workload

BESIDE = frozenset({"blue-green", "canary"})
"""The strategies with which the new version is a Deployment of its own, beside the old one."""
COLOURS = ("blue", "green")
ENDING_S = 30.0
"""For how long it is waited until the pods of a side that goes are being ended."""
LOOK_S = 0.1


class Side(Struct, frozen=True):
    """The name of a workload, and its colour: empty for the one that has the service's own name."""

    name: str
    colour: str = ""


def sides(found: Iterable[Held]) -> list[Held]:
    """The Deployments of a service that are not being ended, oldest first."""
    there = (one for one in found if one.kind == "Deployment" and not one.deleting)
    return sorted(there, key=lambda one: (one.created_at is None, one.created_at, one.name))


def home(there: list[Held], led_to: Held | None) -> Held | None:
    """The side that was proven."""
    return led_to or (there[0] if there else None)


def side_for(at: Work, work: Workload, kind: Kind, there: list[Held], proven: Held | None) -> Side:
    """Where `work` is to run: in the side that has its target; beside the proven one; or in its place.

    Raises HostError where somebody else has both names, TransientError while ours are still being ended.
    """
    plain = Side(work.service)
    if kind != "Deployment":
        return plain
    if mine := of_target(there, work.target):
        return Side(mine.name, mine.colour)
    taken = {held.name: held for held in at.place.workloads()}
    if proven is None:
        first = work.strategy == "blue-green" and not taken.keys() & {work.service, *_names(work)}
        return Side(f"{work.service}-{COLOURS[0]}", COLOURS[0]) if first else plain
    if work.strategy not in BESIDE:
        return Side(proven.name, proven.colour)
    for name, colour in _names(work).items():
        if name not in taken:
            return Side(name, colour)
    for unproven in there:  # of a target that was given up before it had a verdict
        if unproven.colour and unproven.name != proven.name:
            return Side(unproven.name, unproven.colour)
    going = [name for name in _names(work) if taken[name].deleting]
    if going:
        raise TransientError(
            f"the Deployment {going[0]} in {at.place.name} is still being ended", "it is tried again"
        )
    raise HostError(
        f"{work.place}: {work.strategy} needs a second Deployment, and both names are taken: "
        f"{' and '.join(_names(work))}",
        "give theirs other names, or pin another strategy",
    )


def of_target(there: Iterable[Held], target: Target) -> Held | None:
    return next((one for one in there if one.target == target), None)


def check_scalable(at: Work, work: Workload, side: Side, there: list[Held]) -> None:
    """Raise HostError for an old side of a canary that somebody else scales."""
    for one in there if work.strategy == "canary" else ():
        around = at.place.around(one.kind, one.name) if one.name != side.name else None
        for manager in fields.scalers(around.managed) if around else ():
            if not fields.may_overrule(manager, at.choice.engine.overrule):
                raise HostError(
                    f"{work.place}: the {one.kind} {one.name} is scaled by {manager}, and a canary would have to",
                    "let it give spec.replicas up, or pin another strategy",
                )


def give_way(at: Work, work: Workload, side: Side, there: list[Held], upto: int) -> None:
    """Scale the old side of a canary down by what was proven before this step: until it is proven, what comes up
    takes nothing away."""
    if work.strategy != "canary":
        return
    check_scalable(at, work, side, there)
    proven = max((count for count in batches(work, ENGINES["kubernetes"]) if count < upto), default=0)
    for one in there:
        left = min(one.wanted, work.instances - proven)
        if one.name != side.name and left < one.wanted:
            # Both at once, or the smaller number would look like somebody's hand.
            body = {
                "metadata": {"annotations": {marks.INSTANCES: str(left)}},
                "spec": {"replicas": left},
            }
            at.place.patch(one.kind, one.name, body)


def end(at: Work, service: str, going: list[Held]) -> None:
    """Remove sides, and wait a while for their pods to be told."""
    for one in going:
        at.place.delete(one.kind, one.name, one.uid)
    clock = SystemClock()
    deadline_s = clock.monotonic() + ENDING_S
    colours = {one.colour for one in going}
    while going and clock.monotonic() < deadline_s:
        mine = at.place.pods_by_service().get(service, [])
        if not any(not pod.gone and pod.labels.get(marks.COLOUR, "") in colours for pod in mine):
            return
        time.sleep(LOOK_S)


def _names(work: Workload) -> dict[str, str]:
    return {f"{work.service}-{colour}": colour for colour in COLOURS}
