"""Making it so: what is created, applied and removed for one workload, in an order that may stop anywhere."""

from __future__ import annotations

import time
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.clock import SystemClock
from reconciler.drivers.base import Cause
from reconciler.drivers.kubernetes import body, files, front, marks, rollout, sides
from reconciler.drivers.kubernetes.api import Conflict
from reconciler.drivers.kubernetes.material import hold, tidy
from reconciler.drivers.kubernetes.namespace import Around
from reconciler.drivers.kubernetes.objects import Service
from reconciler.drivers.kubernetes.rollout import Held, Kind
from reconciler.drivers.kubernetes.session import Work
from reconciler.drivers.kubernetes.sides import BESIDE, Side
from reconciler.model.errors import HostError, TransientError
from reconciler.model.target import Workload

TRIES = 5
"""How often a change is begun anew that somebody else's came before."""
LOOK_S = 0.1
ENDING_MARGIN_S = 60.0


class Plan(Struct, frozen=True):
    """What is decided of one workload before anything is touched, by what is there.

    `there`: the sides that are, oldest first. `standing`: a Service of ours stands before them, or is to; `found`: as
    it is now. `proven`: the side that it leads to, or would. `side`: where the workload is to run.
    """

    manifest: dict[str, Any] | None
    kind: Kind
    there: list[Held]
    standing: bool
    found: Service | None
    proven: Held | None
    side: Side


def plan(at: Work, work: Workload) -> Plan:
    """Raises HostError for a Service that is not ours, and where both names of a second side are taken."""
    manifest = files.kept_manifest(at.site, work)
    kind = files.kind_of(manifest)
    there = sides.sides(at.ours(work.environment, work.service)) if kind == "Deployment" else []
    standing = kind == "Deployment" and front.stands(work, there)
    found = front.see(at, work) if standing else None
    proven = sides.home(there, front.led_to(found, there))
    side = sides.side_for(at, work, kind, there, proven)
    return Plan(manifest, kind, there, standing, found, proven, side)


def make_so(at: Work, cause: Cause, work: Workload, upto: int) -> None:
    """Create what the pods refer to, then apply the workload; the engine does the rest.

    With blue-green and a canary of a Deployment it is one of its own, beside the one that runs.
    """
    _end_other_kinds(at, work, files.kind_of(files.kept_manifest(at.site, work)))
    wanted = plan(at, work)
    if wanted.standing:
        _check_ours(at, cause, work, at.place.around(wanted.kind, wanted.side.name))
        front.lead(at, cause, work, wanted.found, _leads_to(work, wanted))
    if work.strategy == "stop-start":
        sides.end(at, work.service, [one for one in wanted.there if one.name != wanted.side.name])
    _apply(at, cause, work, upto, wanted)
    sides.give_way(at, work, wanted.side, wanted.there, upto)


def settle(at: Work, work: Workload) -> None:
    """`work` is proven: the Service is turned to it, and then the other side goes."""
    there = sides.sides(at.ours(work.environment, work.service))
    mine = sides.of_target(there, work.target)
    others = [one for one in there if one is not mine]
    if mine is None or not (others or mine.front):
        return
    if mine.front:
        found, alone = front.see(at, work), work.strategy == "blue-green"
        if found is None or front.led_to(found, there) is not (mine if alone else None):
            to = front.Lead(work.target, mine.colour) if alone else None
            front.lead(at, Cause("settle"), work, found, to)
            if others:
                front.wait()
    sides.end(at, work.service, others)


def bring_back(at: Work, cause: Cause, good: Workload) -> None:
    """What is not `good` goes; the Service is turned back first, where `good` still stands in full."""
    _end_other_kinds(at, good, files.kind_of(files.kept_manifest(at.site, good)))
    # In the place of what failed, where its own side is gone: whatever is left of it there comes back at once.
    wanted = plan(at, replace(good, strategy="rolling" if good.strategy in BESIDE else good.strategy))
    if wanted.standing:
        mine = sides.of_target(wanted.there, good.target)
        whole = front.Lead(good.target, mine.colour) if mine and not mine.waits else None
        front.lead(at, cause, good, wanted.found, whole)
    sides.end(at, good.service, [one for one in wanted.there if one.name != wanted.side.name])
    _apply(at, cause, good, good.instances, wanted)
    unstick(at, good)


def try_out(at: Work, work: Workload) -> None:
    """Have the server judge the workload and change nothing: rights, quota, admission, every field, other owners."""
    wanted = plan(at, work)
    around = at.place.around(wanted.kind, wanted.side.name)
    if around is not None and not at.is_ours(around.held, work.environment):
        return  # whether it may be taken over is a person's to say, and comes before this
    cause = Cause("preflight")
    # It is judged before there are any: by names that could be theirs.
    names = {"secret": f"{work.service}-env"} if body.secret_names(work) else {}
    sent = body.workload(cause, work, work.instances, _around(at, around, wanted, names), wanted.manifest)
    at.place.apply(sent, dry=True, overrule=(*at.choice.engine.overrule, marks.MANAGER))
    if wanted.standing:
        front.lead(at, cause, work, wanted.found, _leads_to(work, wanted), dry=True)
    sides.check_scalable(at, work, wanted.side, wanted.there)


def _leads_to(work: Workload, wanted: Plan) -> front.Lead | None:
    """Where the Service leads until `work` is proven."""
    if work.strategy != "blue-green":
        return None
    if wanted.proven and wanted.proven.target:
        return front.Lead(wanted.proven.target, wanted.proven.colour)
    return front.Lead(work.target, wanted.side.colour)


def _apply(at: Work, cause: Cause, work: Workload, upto: int, wanted: Plan) -> None:
    kind, name, names = wanted.kind, wanted.side.name, hold(at, cause, work)
    for tried in range(TRIES):
        around = at.place.around(kind, name)
        _check_ours(at, cause, work, around)
        try:
            if around is not None:
                adopting = not at.is_ours(around.held, work.environment)
                overrule = ("*",) if adopting else (*at.choice.engine.overrule, marks.MANAGER)
                at.place.take_over(kind, name, around, overrule)
            sent = body.workload(cause, work, upto, _around(at, around, wanted, names), wanted.manifest)
            # What we have scaled ourselves stands under another kind of write.
            at.place.apply(sent, overrule=(marks.MANAGER,))
        except Conflict:
            if tried + 1 == TRIES:
                raise
        else:
            return


def unstick(at: Work, good: Workload) -> None:
    """A StatefulSet waits for ever for a pod that never gets ready, even when its template is a good one again."""
    ours = at.ours(good.environment, good.service)
    held = next((one for one in ours if one.kind == "StatefulSet"), None)
    if held is None:
        return
    for pod in at.place.pods_by_service().get(good.service, []):
        if (
            held.selector.items() <= pod.labels.items()
            and pod.target != good.target
            and pod.state != "running"
        ):
            at.place.delete("Pod", pod.name, pod.uid)


def remove(at: Work, environment: str, service: str) -> None:
    """Stop the service altogether, and see it gone, pods included. Raises TransientError while it is not."""
    grace_s = 0.0
    if any(held.front for held in at.ours(environment, service)):
        front.remove(at, environment, service)
    for held in at.ours(environment, service):
        at.place.delete(held.kind, held.name, held.uid)
        grace_s = ENDING_MARGIN_S
    _until_gone(at, environment, service, grace_s)
    tidy(at, environment, service, frozenset())


def rename(at: Work, old: str, new: str) -> None:
    """The objects get the new name; their pods keep the old one, as they would be started anew with another."""
    fronted = set[str]()
    for held in at.place.workloads():
        if at.is_ours(held, old):
            fronted |= {held.service} if held.front else set()
            at.place.relabel(held.kind, held.name, {marks.ENVIRONMENT: new})
    for service in fronted:
        at.place.relabel("Service", service, {marks.ENVIRONMENT: new})
    mine = {marks.MANAGED_BY: marks.MANAGER, marks.SITE: at.id, marks.ENVIRONMENT: old}
    for kind in ("Secret", "ConfigMap"):
        for name, _ in at.place.names(kind, mine):
            at.place.relabel(kind, name, {marks.ENVIRONMENT: new})


def _end_other_kinds(at: Work, work: Workload, kind: str) -> None:
    """A release that is another kind of workload than the one before: the old one goes first."""
    others = [held for held in at.ours(work.environment, work.service) if held.kind != kind]
    for held in others:
        at.place.delete(held.kind, held.name, held.uid)
    if others:
        _until_gone(at, work.environment, work.service, ENDING_MARGIN_S, but=kind)


def _until_gone(at: Work, environment: str, service: str, limit_s: float, *, but: str = "") -> None:
    clock = SystemClock()
    deadline_s = clock.monotonic() + limit_s
    while left := [held for held in at.ours(environment, service) if held.kind != but]:
        if clock.monotonic() >= deadline_s:
            raise TransientError(
                f"the {left[0].kind} {service} in {at.place.name} is still being ended",
                "it is looked at again",
            )
        time.sleep(LOOK_S)


def _check_ours(at: Work, cause: Cause, work: Workload, around: Around | None) -> None:
    if around is None:
        return
    if not at.is_ours(around.held, work.environment) and not cause.adopted:
        what = rollout.foreign(around.held, at.id)
        raise HostError(what, f"let it be taken over with `ugs adopt`, or remove it from {at.place.name}")
    if around.held.deleting:
        raise TransientError(
            f"{around.held.kind} {around.held.name} is still being ended", "it is tried again"
        )
    if at.is_ours(around.held, work.environment) and around.held.service != work.service:
        raise HostError(
            f"the {around.held.kind} {around.held.name} is a side of the service {around.held.service}",
            f"give {work.service} another name",
        )


def _around(at: Work, around: Around | None, wanted: Plan, names: dict[str, str]) -> body.Around:
    held = around.held if around else None
    return body.Around(
        site=at.id,
        selector=held.selector if held else {},
        container=around.container if around else "",
        name=wanted.side.name,
        colour=wanted.side.colour,
        front=wanted.standing,
        **names,
    )
