"""What a pod says of itself, as the state of an instance: it runs, the engine is still at it, or it fails."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from reconciler.drivers.kubernetes.marks import SERVICE, target_of
from reconciler.drivers.kubernetes.objects import ContainerStatus, Pod, Terminated
from reconciler.model.target import Target

State = Literal["running", "starting", "crashed"]
IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff"})
NO_SUCH_IMAGE = ("manifest unknown", "not found", "does not exist")
UNSURE = ("docker login", "denied", "unauthorized", "forbidden")
"""A registry that hides what one may not read says the same of what is not there: that proves nothing."""
NEVER = frozenset({"InvalidImageName", "CreateContainerError", "RunContainerError", "StartError"})
"""What the image or its command can never be started with."""
LEFT = frozenset({"Failed", "Succeeded"})
"""Phases of a pod that was evicted or has ended: what owns it makes another."""
MESSAGE_MAX = 300


class Seen(Struct, frozen=True):
    """One pod, cut down to what is asked of it."""

    name: str
    uid: str
    service: str
    labels: dict[str, str]
    target: Target | None
    state: State
    detail: str
    ip: str
    created_at: datetime | None
    started_at: datetime | None
    restarts: int
    container: str = ""
    trouble: str = ""
    """Why its image was not pulled, in the words of the attempt; later reports say only that it is tried again."""
    up: bool = False
    """Its containers run, and are only not ready."""
    gone: bool = False
    """It is being ended, or was evicted: what owns it makes another."""


def seen(pod: Pod, before: Seen | None = None) -> Seen:
    """`before`: the same pod as it was last seen."""
    status, meta = pod.status, pod.metadata
    trouble = _pull_trouble(pod) or (before.trouble if before and before.uid == meta.uid else "")
    state, detail, container = _state(pod, trouble)
    started = [one.state.running.started_at for one in status.container_statuses if one.state.running]
    return Seen(
        name=meta.name,
        uid=meta.uid,
        service=meta.labels.get(SERVICE, ""),
        labels=meta.labels,
        target=target_of(meta),
        state=state,
        detail=detail,
        ip=status.pod_ip,
        created_at=meta.creation_timestamp,
        started_at=max((at for at in started if at), default=None),
        restarts=sum(one.restart_count for one in status.container_statuses),
        container=container,
        trouble=trouble if state != "running" else "",
        up=state == "starting" and _all_up(pod) and not all(one.ready for one in status.container_statuses),
        gone=meta.deletion_timestamp is not None or status.phase in LEFT,
    )


def _state(pod: Pod, trouble: str) -> tuple[State, str, str]:
    """State, detail, and the container that it is about."""
    status = pod.status
    for one in (*status.init_container_statuses, *status.container_statuses):
        if verdict := _container(one, trouble, init=one in status.init_container_statuses):
            return (*verdict, one.name)
    conditions = {one.type: one for one in status.conditions}
    scheduled = conditions.get("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return "starting", f"not placed on a node: {_short(scheduled.message or scheduled.reason)}", ""
    containers = status.container_statuses
    ready = conditions.get("Ready")
    if containers and all(one.ready for one in containers):
        if ready is not None and ready.status == "True":
            return "running", "", ""
        # The kubelet said that all is well, and another has said since that the node does not answer.
        why = (ready.message or ready.reason) if ready else ""
        return "starting", f"node {pod.spec.node_name} does not answer for it: {_short(why)}".rstrip(": "), ""
    if _all_up(pod):
        waits = next((one.name for one in containers if not one.ready), "")
        return "starting", f"container {waits} runs and is not ready yet", waits
    return "starting", f"pod {pod.metadata.name} is being started ({status.phase or 'Pending'})", ""


def _container(one: ContainerStatus, trouble: str, *, init: bool) -> tuple[State, str] | None:
    """What one container says against its pod; None when nothing."""
    waiting, ended = one.state.waiting, one.state.terminated
    if ended is not None:
        if init and ended.exit_code == 0:
            return None
        return "crashed", f"container {one.name} {_ending(ended)}"
    if waiting is None:
        return None
    said = _short(waiting.message)
    if waiting.reason == "CrashLoopBackOff":
        how = _ending(one.last_state.terminated) if one.last_state.terminated else "ends again and again"
        return "crashed", f"container {one.name} {how}, {one.restart_count} restarts (CrashLoopBackOff)"
    if waiting.reason in IMAGE:
        if _is_absent(trouble):
            return "crashed", f"its image does not exist: {trouble}"
        return "starting", f"its image is not pulled ({waiting.reason}): {trouble or said}"
    if waiting.reason in NEVER:
        return "crashed", f"container {one.name} can never start ({waiting.reason}): {said}"
    if waiting.reason in ("ContainerCreating", "PodInitializing", ""):
        return None
    return "starting", f"container {one.name} waits ({waiting.reason}): {said}"


def _pull_trouble(pod: Pod) -> str:
    """What an attempt to pull said; `Back-off pulling image` alone says nothing."""
    for one in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = one.state.waiting
        if waiting and waiting.reason in IMAGE:
            bare = waiting.reason == "ImagePullBackOff" and "Err" not in waiting.message
            return "" if bare else _short(waiting.message)
    return ""


def _is_absent(trouble: str) -> bool:
    text = trouble.lower()
    return any(one in text for one in NO_SUCH_IMAGE) and not any(one in text for one in UNSURE)


def _ending(ended: Terminated) -> str:
    why = f" ({ended.reason})" if ended.reason not in ("", "Error", "Completed") else ""
    return f"ended with code {ended.exit_code}{why}"


def _all_up(pod: Pod) -> bool:
    found = pod.status.container_statuses
    return bool(found) and all(one.state.running is not None for one in found)


def _short(text: str) -> str:
    return " ".join(text.split())[:MESSAGE_MAX]
