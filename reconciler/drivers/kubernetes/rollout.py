"""How far a Deployment, StatefulSet or DaemonSet is, and what of it runs: `kubectl rollout status`, as facts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from reconciler.drivers.kubernetes import fields, marks, pods
from reconciler.drivers.kubernetes.objects import Workload
from reconciler.model.observation import Instance, Observation
from reconciler.model.target import Target

Kind = Literal["Deployment", "StatefulSet", "DaemonSet"]
PLURALS: dict[Kind, str] = {
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
}
RANK = {"crashed": 0, "starting": 1, "running": 2}


class Held(Struct, frozen=True):
    """One workload, cut down to what is asked of it.

    `target`: of its template. `wanted`: how many pods it wants. `new`: how many of those are to be of the template.
    """

    kind: Kind
    name: str
    uid: str
    generation: int
    labels: dict[str, str]
    maker: str
    selector: dict[str, str]
    target: Target | None
    wanted: int
    new: int
    waits: str
    """Why the rollout is not complete; empty when it is."""
    stalled: str
    """What the progress deadline has passed on; empty when it has not."""
    refused: str
    """Why pods cannot be made: a quota, an admission hook."""
    drift: str
    deleting: bool
    secrets: tuple[str, ...]
    """The names under which ugs.yaml knows the secrets that it is given."""
    created_at: datetime | None = None
    front: bool = False
    """A Service of ours stands before it."""

    @property
    def service(self) -> str:
        return self.labels.get(marks.SERVICE, self.name)

    @property
    def colour(self) -> str:
        """Which side of the service it is; empty for the only one there ever was."""
        return self.labels.get(marks.COLOUR, "")


def held(kind: Kind, found: Workload) -> Held:
    meta, spec, status = found.metadata, found.spec, found.status
    conditions = {one.type: one for one in status.conditions}
    progress, failure = conditions.get("Progressing"), conditions.get("ReplicaFailure")
    stalled = progress is not None and progress.reason == "ProgressDeadlineExceeded"
    wanted = status.desired_number_scheduled if kind == "DaemonSet" else spec.replicas
    rolling = spec.update_strategy.rolling_update
    new = max(0, wanted - rolling.partition) if kind == "StatefulSet" and rolling else wanted
    waits = _waits(kind, found, wanted, new)
    names = meta.annotations.get(marks.SECRETS, "")
    return Held(
        kind=kind,
        name=meta.name,
        uid=meta.uid,
        generation=meta.generation,
        labels=meta.labels,
        maker=", ".join(sorted({one.manager for one in meta.managed_fields if "f:spec" in one.fields})),
        selector=spec.selector.match_labels,
        target=marks.target_of(spec.template.metadata) or marks.target_of(meta),
        wanted=wanted,
        new=new,
        waits=waits,
        stalled=progress.message if stalled and progress and waits else "",
        refused=failure.message if failure and failure.status == "True" else "",
        drift=_drift(kind, found),
        deleting=meta.deletion_timestamp is not None,
        secrets=tuple(filter(None, names.split(","))),
        created_at=meta.creation_timestamp,
        front=marks.FRONT in meta.annotations,
    )


def observation(one: Held, found: Iterable[pods.Seen]) -> Observation:
    """What runs of a workload of ours. Pods that are being ended count no more."""
    mine = [pod for pod in found if _is_of(one, pod)]
    targets = {pod.target for pod in mine} | {None if one.deleting else one.target}
    instances = [
        instance
        for target in sorted(filter(None, targets), key=str)
        for instance in _instances(one, target, [pod for pod in mine if pod.target == target])
    ]
    return Observation(one.service, tuple(instances))


def places(one: Held, target: Target, found: Iterable[pods.Seen]) -> dict[int, pods.Seen]:
    """By instance, the pods of one target."""
    mine = [pod for pod in found if _is_of(one, pod) and pod.target == target]
    if one.kind == "StatefulSet":
        return {_place(one, pod.name): pod for pod in mine}
    return dict(enumerate(sorted(mine, key=lambda pod: (pod.created_at is None, pod.created_at, pod.name))))


def foreign(one: Held, site: str) -> str:
    """The sentence about a workload that is not ours."""
    if one.labels.get(marks.MANAGED_BY) == marks.MANAGER and marks.SITE in one.labels:
        theirs, where = one.labels[marks.SITE], one.labels.get(marks.ENVIRONMENT, "?")
        whose = f"it is of the environment {where}" + (
            f" of another UGS (site {theirs})" if theirs != site else ""
        )
    else:
        whose = f"{one.maker or 'somebody else'} made it"
    return f"the {one.kind} {one.name} is not ours: {whose}"


def _instances(one: Held, target: Target, mine: list[pods.Seen]) -> list[Instance]:
    if one.kind == "DaemonSet":
        return _of_set(one, target, mine)
    found = {index: _instance(one, index, target, pod) for index, pod in places(one, target, mine).items()}
    if target != one.target or one.deleting:
        return list(found.values())
    for index in set(range(one.new)) - found.keys():
        why = one.refused or one.waits or "its pod is not there yet"
        found[index] = Instance(index, target, "starting", detail=why, drift=one.drift)
    last = max(found, default=-1)
    if one.waits and last >= 0 and all(each.state == "running" for each in found.values()):
        found[last] = replace(found[last], state="starting", detail=one.waits)
    return [found[index] for index in sorted(found)]


def _of_set(one: Held, target: Target, mine: list[pods.Seen]) -> list[Instance]:
    """A DaemonSet is one instance, as well as the worst of its pods: nobody pins how many nodes there are."""
    states = sorted((_instance(one, 0, target, pod) for pod in mine), key=lambda each: RANK[each.state])
    if not states:
        why = one.refused or one.waits or "no node takes it"
        return [Instance(0, target, "starting", detail=why, drift=one.drift)] if target == one.target else []
    worst = states[0]
    if target == one.target and one.waits and worst.state == "running":
        worst = replace(worst, state="starting", detail=one.waits)
    return [worst]


def _instance(one: Held, index: int, target: Target, pod: pods.Seen) -> Instance:
    state, detail = pod.state, pod.detail
    if pod.up and one.stalled and target == one.target:
        state, detail = "crashed", f"{detail}, within the progress deadline: {one.stalled}"
    return Instance(index, target, state, started_at=pod.started_at, detail=detail, drift=one.drift)


def _is_of(one: Held, pod: pods.Seen) -> bool:
    """Of two sides, one without a colour would select the other's pods too."""
    return (
        not pod.gone
        and one.selector.items() <= pod.labels.items()
        and pod.labels.get(marks.COLOUR, "") == one.colour
    )


def _place(one: Held, name: str) -> int:
    """A StatefulSet replaces its highest pod first: that is instance 0."""
    tail = name.rpartition("-")[2]
    ordinal = int(tail) if tail.isdigit() else 0
    return one.wanted - 1 - ordinal if ordinal < one.wanted else ordinal


def _waits(kind: Kind, found: Workload, wanted: int, new: int) -> str:
    status = found.status
    if status.observed_generation < found.metadata.generation:
        return f"its controller has not seen generation {found.metadata.generation} yet"
    if found.spec.paused:
        return "its rollout is paused"
    match kind:
        case "Deployment":
            return _counted(status.updated_replicas, new, status.replicas, wanted, status.available_replicas)
        case "StatefulSet":
            # With nothing under way the two revisions are one, and nothing counts as updated.
            updated = status.updated_replicas if status.update_revision != status.current_revision else new
            return _counted(updated, new, updated, wanted, status.ready_replicas)
        case "DaemonSet":
            updated = status.updated_number_scheduled
            return _counted(updated, new, updated, wanted, status.number_available)


def _counted(updated: int, new: int, there: int, wanted: int, available: int) -> str:
    if updated < new:
        return f"{updated} of {new} pods are of the new template"
    if there > updated:
        return f"{there - updated} old pods have not ended yet"
    return f"{available} of {wanted} pods are available" if available < wanted else ""


def _drift(kind: Kind, found: Workload) -> str:
    meta = found.metadata
    said = fields.drift(meta.managed_fields) if marks.SITE in meta.labels else ""
    ours = meta.annotations.get(marks.INSTANCES)
    # Servers before 1.22 keep no account of `kubectl scale`.
    if kind != "DaemonSet" and ours and ours != str(found.spec.replicas) and "spec.replicas" not in said:
        scaled = f"somebody set spec.replicas to {found.spec.replicas}, not {ours}"
        said = f"{said}; {scaled}" if said else scaled
    return said
