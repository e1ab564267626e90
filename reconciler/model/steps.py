"""The way to a pinned workload in an environment, and what its first step reaches."""

from __future__ import annotations

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.codec import encode
from reconciler.model.desired import Desired
from reconciler.model.environment import Environment
from reconciler.model.misfits import misfits
from reconciler.model.path import NoWay, way
from reconciler.model.release import Release
from reconciler.model.target import Workload, workload
from reconciler.model.version import Version


class Steps(Struct, frozen=True):
    """The way to a pinned workload: the versions on it, and what its first step reaches."""

    first: Workload
    path: tuple[str, ...] = ()
    blocked: str = ""
    unblocked_by: str = ""


def steps_to(desired: Desired, goal: Workload, base: Version | None) -> Steps:
    """The shortest way up that the releases permit; the way down, and to another config, is one step."""
    version = goal.target.version
    if base is None or version <= base:
        return Steps(goal, (version.text,))
    known = {**desired.releases.get(goal.service, {}), version: goal.release}
    try:
        steps = way(known, base, version)
    except NoWay as error:
        return Steps(goal, blocked=error.message, unblocked_by=error.remedy)
    path = tuple(step.version.text for step in steps)
    if len(steps) == 1:
        return Steps(goal, path)
    place = desired.environment
    if goal.service not in place.pins:
        return Steps(goal, path)  # taken off, or out of sight, while it is being carried out
    pin = replace(place.pins[goal.service], version=steps[0].version)
    if problems := misfits(pin, steps[0], place.flags, place.driver.kind, place.hosts):
        why = f"on the way to {version}: {problems[0].path}: {problems[0].message}"
        return Steps(goal, blocked=why, unblocked_by=problems[0].remedy)
    return Steps(hop(place, goal, steps[0]), path)


def hop(place: Environment, goal: Workload, release: Release) -> Workload:
    """What the pin of `goal` asks for with another release on the way there."""
    pin = replace(place.pins[goal.service], version=release.version)
    return workload(place.name, pin, release, node=_node_at(goal.node, release.version), flags=place.flags)


def _node_at(node: str, version: Version) -> str:
    """A pin's value, as JSON, with another version in it."""
    value: object = msgspec.json.decode(node)
    return encode(value | {"version": version.text} if isinstance(value, dict) else version.text).decode()
